"""How weights are shared, trained, searched and cut out. Knows no family of networks; its core knows no pose."""

from __future__ import annotations

from .calibration import calibrate
from .checkpoint import load_checkpoint
from .supernet import Supernet

__all__ = ["Supernet", "calibrate", "load_checkpoint"]
