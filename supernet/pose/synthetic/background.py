"""Muted, textured backgrounds for drawn images: gradients, blotches, stripes, blocks, a few loose shapes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def _muted(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    hsv = np.array([[[rng.integers(0, 180), rng.integers(0, 90), rng.integers(50, 225)]]], dtype=np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0], dtype=np.float32)


def sample_backdrop(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw one background, BGR [height, width, 3]."""
    first, second = _muted(rng), _muted(rng)
    second = first + 0.6 * (second - first)
    x, y = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.float32(np.cos(angle)) * (x - 0.5) + np.float32(np.sin(angle)) * (y - 0.5) + 0.5
    kind = rng.choice(["gradient", "stripes", "blocks", "ground"], p=[0.35, 0.15, 0.15, 0.35])
    if kind == "stripes":
        along = 0.35 + 0.3 * (np.floor(along * rng.integers(4, 14)) % 2)
    elif kind == "blocks":
        cells = rng.integers(3, 9)
        along = 0.35 + 0.3 * ((np.floor(x * cells) + np.floor(y * cells)) % 2)
    elif kind == "ground":
        along = 0.25 * along + 0.7 * (y > rng.uniform(0.35, 0.75))
    image = first + along.astype(np.float32)[..., None] * (second - first)

    rows, columns = (int(count) for count in rng.integers(3, 12, 2))
    grid = (rng.normal(0, 11, (rows, columns, 1)) + rng.normal(0, 5, (rows, columns, 3))).astype(np.float32)
    image = image + cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    image = image + rng.standard_normal((height, width, 1), dtype=np.float32) * rng.uniform(2, 7)
    result = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 5))):
        colour = tuple(float(channel) for channel in 0.5 * _muted(rng) + 0.5 * first)
        a, b = rng.integers(0, [width, height], (2, 2)).tolist()
        shape = rng.integers(3)
        if shape == 0:
            cv2.circle(result, a, int(rng.integers(3, max(4, height // 8))), colour, -1, cv2.LINE_AA)
        elif shape == 1:
            cv2.line(result, a, b, colour, int(rng.integers(1, max(2, height // 24))), cv2.LINE_AA)
        else:
            size = rng.integers(4, max(5, height // 3), 2)
            cv2.rectangle(result, a, (a[0] + int(size[0]), a[1] + int(size[1])), colour, -1)
    return result
