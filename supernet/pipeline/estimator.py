"""PoseEstimator: people on images by a file of weights, from Python."""

from __future__ import annotations
