"""How weights are shared, trained, searched and cut out. Knows no family of networks; its core knows no pose."""

from __future__ import annotations

from .cost.cost_model import CostModel
from .io.checkpoint import load_checkpoint
from .search.loop import search_front
from .search.nsga2 import NSGA2
from .sharing.calibration import calibrate
from .sharing.supernet import Supernet
from .training.sampling import Sampler
from .training.stages import audit, stages

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
