"""What can be built: one file per family of networks, each with the same five parts in the same order.

Architecture, network, space, published variants, and their files. A family module offers ``build``, ``SPACE``, ``SPACES``,
``to_json``, ``from_json`` and ``published``.
"""

from __future__ import annotations

from types import ModuleType

from . import litepose
from .space import ArchitectureError, Space, choice, repeat

FAMILIES: dict[str, ModuleType] = {"litepose": litepose}

__all__ = ["FAMILIES", "ArchitectureError", "Space", "choice", "litepose", "repeat"]
