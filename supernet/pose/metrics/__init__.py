"""Official metrics: OKS average precision (COCO, CrowdPose), PCKh (MPII); mean OKS and PCK for all; submission files."""
