"""Bottom-up pose estimation: augmentation, targets, losses, inference, grouping by associative embedding."""
