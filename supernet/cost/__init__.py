"""Costs of networks (MACs, parameters, peak memory, latency), counted exactly and tabulated for whole search spaces."""
