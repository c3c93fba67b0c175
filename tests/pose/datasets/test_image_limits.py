"""Images too large to decode, and names that are links out of the dataset: refused before anything is done."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from supernet.errors import UserError
from supernet.pose.datasets import images
from supernet.pose.datasets.image_limits import ImageLimits, limits_in_use, stored_size
from supernet.pose.datasets.images import ImageError, image_path, image_size, read_image

SUFFIXES = ("png", "jpg", "bmp", "tif", "webp", "gif", "ppm")


def bomb(path: Path, width: int, height: int) -> Path:
    """A grey PNG of this size whose pixels, all of them, fit into few bytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (
            20_000,
            1,
            "20000 x 1 pixels: one side is more than 20 times the other, DATASET.IMAGE_LIMITS.ASPECT: raise it",
        ),
        (1, 30_000, "1 x 30000 pixels: one side is more than 20 times"),
        (40_000, 2_000, "40000 x 2000 pixels: a side is above the 32,766 of DATASET.IMAGE_LIMITS.SIDE: cut or shrink"),
        (12_000, 12_000, "12000 x 12000 pixels are more than the 100,000,000 of DATASET.IMAGE_LIMITS.PIXELS: raise it"),
    ],
)
def test_images_that_are_too_large_are_refused(width: int, height: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(bomb(tmp_path / "x.png", width, height))


def test_a_bomb_is_refused_within_little_memory(tmp_path: Path) -> None:
    """32000 × 32000 pixels would take 3 GB: the reader is given 400 MB more than it has."""
    bomb(tmp_path / "x.png", 32_000, 2_000)  # the head is changed below: to pack all rows would take seconds
    data = bytearray((tmp_path / "x.png").read_bytes())
    data[20:24] = struct.pack(">I", 32_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "x.png").write_bytes(data)
    program = (
        "import resource, sys; from pathlib import Path; from supernet.pose.datasets.images import read_image\n"
        "size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize() + 4 * 10**8\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.png")], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("ImageError image ") and "32000 x 32000 pixels are more than" in done.stdout, done


def test_a_png_whose_chunk_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    """OpenCV would take them before it sees that they are not there."""
    bomb(tmp_path / "x.png", 40, 30)
    data = (tmp_path / "x.png").read_bytes()
    for place in (8, 33):  # the lengths of IHDR and IDAT
        (tmp_path / "x.png").write_bytes(data[:place] + struct.pack(">I", 2**31 - 1) + data[place + 4 :])
        with pytest.raises(ImageError, match="x.png cannot be decoded .truncated, or not an image"):
            read_image(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_head_of_every_format_says_the_size(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)).save(path)
    assert stored_size(path.read_bytes()) == image_size(path) == (47, 31)
    assert read_image(path).shape == (31, 47, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("POSE_SUPERNET_IMAGE_LIMITS", raising=False)
        patch.setattr(os, "environ", dict(os.environ))
        ImageLimits(pixels=1000).use()
        with pytest.raises(ImageError, match="47 x 31 pixels are more than the 1,000"):
            read_image(path)


def test_a_png_with_exif_is_measured_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png", exif=exif)
    assert stored_size((tmp_path / "x.png").read_bytes()) == (40, 30)


def test_limits_are_those_of_started_processes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_SUPERNET_IMAGE_LIMITS", "x")
    assert limits_in_use() == ImageLimits()
    ImageLimits(5, 6, 7).use()
    program = "from supernet.pose.datasets.image_limits import *; print(limits_in_use())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(limits_in_use()) == "ImageLimits(pixels=5, side=6, aspect=7)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "images"
    (folder / "more").mkdir(parents=True)
    cv2.imwrite(str(folder / "more" / "a.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "secret.png").write_bytes((folder / "more" / "a.png").read_bytes())
    images._links.cache_clear()
    return folder


def test_links_out_of_the_dataset_are_refused(folder: Path) -> None:
    (folder / "out.png").symlink_to(folder.parents[1] / "secret.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "above").symlink_to(folder.parents[1])
    for name in ("out.png", "zero.png", "above/secret.png"):
        with pytest.raises(UserError, match=f"image name '{name}' is a link that leads out of {folder}: put the file"):
            image_path(folder, name)


def test_links_within_the_dataset_and_to_it_are_followed(folder: Path) -> None:
    (folder / "in.png").symlink_to("more/a.png")
    (folder.parent / "linked").symlink_to("images")
    for place in (folder, folder.parent / "linked"):
        for name in ("in.png", "more/a.png"):
            assert read_image(image_path(place, name)).shape == (9, 9, 3)


def test_a_pipe_in_the_dataset_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(ImageError, match="pipe.png cannot be read .is a named pipe, no regular file.: complete"):
        read_image(image_path(folder, "pipe.png"))
