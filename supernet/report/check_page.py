"""Write the page of a data check: what was found, how often each joint is labelled, and samples drawn."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..io.files import write_atomically
from .html import as_facts, as_table, render

LARGEST = 3_000_000  # bytes of the page
QUALITIES = (82, 70, 55, 40, 25)  # of JPEG, until the page is small enough


@dataclass(frozen=True, eq=False)
class SamplePictures:
    """One sample: a caption, and its images, uint8 RGB (H, W, 3): as annotated, mirrored, and augmented ones."""

    caption: str
    images: Sequence[NDArray[np.uint8]]


def write_check_page(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, Any],
    parts: pd.DataFrame,
    lines: Sequence[tuple[str, str]],
    joints: pd.DataFrame,
    samples: Sequence[SamplePictures],
) -> Path:
    """Write the page: one file of at most 3 MB that loads nothing from elsewhere.

    Args:
        path: the file.
        title: heading.
        facts: names and values.
        parts: one row for each part of the data.
        lines: what was found: (``error``, ``warning`` or ``note``; text).
        joints: one row for each joint.
        samples: drawn.

    Raises:
        UserError: the file cannot be written.
    """
    for quality in QUALITIES:
        content = {
            "title": title,
            "about": as_facts(facts),
            "parts": as_table(parts) if len(parts) else None,
            "lines": lines,
            "joints": as_table(joints) if len(joints) else None,
            "samples": [
                {"caption": sample.caption, "images": [_jpeg(image, quality) for image in sample.images]}
                for sample in samples
            ],
        }
        page = render("check.html", {}, content)
        if len(page.encode()) <= LARGEST:
            break
    write_atomically(path, page)
    return path


def _jpeg(image: NDArray[np.uint8], quality: int) -> str:
    _, jpeg = cv2.imencode(".jpg", image[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    return base64.b64encode(jpeg.tobytes()).decode()
