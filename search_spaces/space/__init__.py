"""Search spaces: architectures whose leaves may be choices, the walks over them, and their JSON."""

from __future__ import annotations

from .space import Space
from .tree import ArchitectureError, choice, repeat

__all__ = ["ArchitectureError", "Space", "choice", "repeat"]
