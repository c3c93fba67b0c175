"""Weight sharing: supernet, slicing rules, networks on the meta device, BatchNorm calibration, channel sorting."""

from . import layer_rules as layer_rules  # whose registration is what an import is for
