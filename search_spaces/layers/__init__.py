"""Layers that several families share: convolutions, parallel branches, attention, heads."""
