"""Official metrics: OKS average precision (COCO, CrowdPose), PCKh (MPII); submission files."""
