"""Images and annotations: COCO, CrowdPose, MPII, LSP, masks, and the loader of batches."""
