"""The synthetic dataset: people drawn with exact annotations."""
