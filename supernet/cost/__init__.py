"""What a network costs: MACs, parameters, peak memory, latency; for whole search spaces at once."""
