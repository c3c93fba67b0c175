"""Where things lie: the repository, the reference records in it, and the real images beside it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "data"

ELSEWHERE = "POSE_SUPERNET_SHARED"  # an environment variable: the folder that has data/, instead of ../shared
IMAGES = Path(os.environ.get(ELSEWHERE) or ROOT.parent / "shared").resolve() / "data"


def missing_images() -> str:
    """Why tests of real images cannot run; '' where they can. They are not part of the repository: others have rights in them."""
    return "" if IMAGES.is_dir() else f"no real images: {IMAGES} is not a folder ({ELSEWHERE} may name another place)"
