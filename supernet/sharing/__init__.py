"""Weight sharing: supernet, slicing rules, networks on the meta device, BatchNorm calibration, channel sorting."""
