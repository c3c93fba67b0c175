"""Images and annotations: COCO, CrowdPose, MPII, masks, and the loader of batches."""
