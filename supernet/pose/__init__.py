"""Human pose estimation as a task: keypoints, datasets, bottom-up and top-down methods, metrics."""
