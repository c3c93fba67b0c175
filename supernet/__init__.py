"""How weights are shared, trained, searched and cut out. Knows no family of networks; its core knows no pose."""

from __future__ import annotations

from .algorithms import NSGA2
from .calibration import calibrate
from .checkpoint import load_checkpoint
from .cost import CostModel
from .sampling import Sampler
from .search import search_front
from .shrinking import audit, stages
from .supernet import Supernet

__all__ = [
    "NSGA2",
    "CostModel",
    "Sampler",
    "Supernet",
    "audit",
    "calibrate",
    "load_checkpoint",
    "search_front",
    "stages",
]
