"""Top-down pose estimation: person crops, targets, losses, heatmap decoding, OKS-NMS."""
