"""Object detection and instance segmentation: anchors, assignment, sampling, losses, proposals, decoding, masks."""
