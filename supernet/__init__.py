"""Weight-sharing supernets: train, search, extract, deploy. The public API, of which each name is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# fmt: off
__all__ = [
    "NSGA2", "CostModel", "CostTable", "Evolution", "Journal", "PoseEstimator", "PredictorSearch", "RandomSearch", "Sampler",
    "Supernet", "UserError", "audit", "calibrate", "check_alignment", "count", "fuse_batchnorm", "load_checkpoint",
    "one_by_one", "peak_memory", "run_search", "search_front", "share", "sort_channels", "stages", "write_onnx",
]
# fmt: on

if TYPE_CHECKING:
    from .cost.cost_model import CostModel, CostTable
    from .cost.macs import count
    from .cost.peak_memory import peak_memory
    from .deploy.fusion import fuse_batchnorm
    from .deploy.onnx_file import write_onnx
    from .errors import UserError
    from .io.checkpoint import load_checkpoint
    from .pipeline.estimator import PoseEstimator
    from .search.evolution import Evolution
    from .search.journal import Journal
    from .search.loop import one_by_one, run_search, search_front
    from .search.nsga2 import NSGA2
    from .search.predictor import PredictorSearch
    from .search.random_search import RandomSearch
    from .sharing.alignment import check_alignment
    from .sharing.calibration import calibrate
    from .sharing.channel_sorting import sort_channels
    from .sharing.slicing import share
    from .sharing.supernet import Supernet
    from .training.sampling import Sampler
    from .training.stages import audit, stages
else:
    _MODULES = {
        "cost.cost_model": "CostModel CostTable", "cost.macs": "count", "cost.peak_memory": "peak_memory",
        "deploy.fusion": "fuse_batchnorm", "deploy.onnx_file": "write_onnx", "errors": "UserError",
        "io.checkpoint": "load_checkpoint", "pipeline.estimator": "PoseEstimator", "search.evolution": "Evolution",
        "search.journal": "Journal", "search.loop": "one_by_one run_search search_front", "search.nsga2": "NSGA2",
        "search.predictor": "PredictorSearch", "search.random_search": "RandomSearch", "sharing.alignment": "check_alignment",
        "sharing.calibration": "calibrate",
        "sharing.channel_sorting": "sort_channels", "sharing.slicing": "share", "sharing.supernet": "Supernet",
        "training.sampling": "Sampler", "training.stages": "audit stages",
    }  # fmt: skip
    _PLACES = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        """Import a name of the public API."""
        if name not in _PLACES:
            raise AttributeError(f"module 'supernet' has no attribute {name!r}; there are {', '.join(__all__)}")
        globals()[name] = value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
        return value
