"""``report.html`` of a run: gathers what only the run knows, such as networks, images and commands, and writes it.

Written again, nothing is trained, searched or evaluated: the finished networks look at a few images.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import search_spaces
from search_spaces.space import codec

from ..cost.macs import operations
from ..io import checkpoint
from ..io.files import read_json
from ..io.run_folder import SubnetFolder
from ..pose.datasets.annotations import AnnotatedImage
from ..pose.datasets.images import read_image
from ..pose.protocols import Approach, KeypointDataset
from ..pose.task import keypoints_by_image
from ..pose.visualisation import draw_poses
from ..report import Images, Network, read_comparison, write_html
from ..report.interactive import evenly
from ..sharing.meta import meta_network
from .run import Run
from .training import place

PUBLISHED = Path(search_spaces.__file__).parent / "published" / "networks.csv"
IMAGES = 4  # of each network
SIDE = 256  # of the longer side of an image, pixels
LEAST_SCORE = 0.3  # of a person that is drawn
JPEG_QUALITY = 88

People = NDArray[np.floating]  # (P, K, 3): x, y in pixels of the image, score or visibility


@dataclass(frozen=True)
class _Subnet:
    """A compared subnet: its folder, architecture and best weights."""

    folder: SubnetFolder
    arch: Any
    weights: Path

    @property
    def note(self) -> str:
        return "calibrated" if self.weights == self.folder.weights else "retrained"


def write_page(run: Run, about: Mapping[str, Any], dataset: str) -> Path:
    """Write ``report.html`` of a finished run.

    Args:
        run: the run's.
        about: ``title``, ``metric``, ``percent``, ``ran``, ``space`` and ``stages``, as report.md has them.
        dataset: by which published networks are found.

    Returns:
        The file.

    Raises:
        UserError: a table, an architecture, weights or an image of the run cannot be read.
    """
    subnets = {name: _subnet(run, name) for name in read_comparison(run.folder, percent=run.percent)["name"]}
    return write_html(
        run.folder,
        dataset=dataset,
        approach=approach_of(run),
        published=PUBLISHED,
        describe=lambda arch: codec.to_json(run.family.from_json(arch)),
        networks={name: _network(run, subnet.arch) for name, subnet in subnets.items()},
        images=_images(run, subnets) if subnets else (),
        deploy={name: _commands(name, subnet) for name, subnet in subnets.items()},
        search=run.data.search_score,
        **{name: about[name] for name in ("title", "metric", "percent", "ran", "space", "stages")},
    )


def approach_of(run: Run) -> Approach:
    """Which published networks stand beside the run's."""
    return run.data.approach


def _subnet(run: Run, name: str) -> _Subnet:
    folder = run.paths.subnet(name)
    return _Subnet(folder, run.family.from_json(read_json(folder.architecture)), folder.best_weights)


def _network(run: Run, arch: Any) -> Network:
    height, width = arch.input_hw
    return Network(operations(meta_network(run.build, arch), (1, 3, height, width)), height * width)


def _commands(name: str, subnet: _Subnet) -> list[tuple[str, str]]:
    """What a reader may do with a subnet, and how; its weights say what they are."""
    weights, onnx = shlex.quote(str(subnet.weights)), shlex.quote(f"{name}.onnx")
    return [
        ("Poses on your own images", f"python tools/demo.py --weights {weights} --input photos --out poses"),
        ("As an ONNX file, checked against PyTorch", f"python tools/export.py --weights {weights} --out {onnx}"),
        ("Its score again, by the official metric", f"python valid.py --weights {weights}"),
    ]


# ------------------------------------------------------------------------------------------------------------ images


def _images(run: Run, subnets: Mapping[str, _Subnet]) -> list[Images]:
    """The same images of the reported split with the poses as annotated, and as each subnet finds them."""
    part, chosen = _chosen(run)
    images = {image.id: read_image(image.path, image.size_wh) for image in chosen}
    truth = {image.id: image.keypoints_PK3 for image in chosen}
    rows = [_row(run, "Truth", "annotated", images, truth)]
    for name, subnet in subnets.items():
        network = run.build(subnet.arch)
        checkpoint.load_checkpoint(network, subnet.weights)
        results = run.task.detect_all(
            place(network, run), part, subnet.arch.input_hw, batch=run.cfg.TEST.IMAGES_PER_GPU
        )
        found = keypoints_by_image(results, images, run.skeleton.num_joints, LEAST_SCORE)
        rows.append(_row(run, name, subnet.note, images, found))
    return rows


def _chosen(run: Run) -> tuple[KeypointDataset[Any], list[AnnotatedImage]]:
    """Some images with people, evenly from the reported split: what networks are shown, and the images as annotated."""
    images = [image for image in run.test.images() if len(image.keypoints_PK3)]
    some = [images[index] for index in evenly(len(images), IMAGES)]
    return run.test.subset(image.id for image in some), some


def _row(
    run: Run, title: str, note: str, images: Mapping[int, NDArray[np.uint8]], people: Mapping[int, People]
) -> Images:
    jpegs = []
    for number, image in images.items():
        drawn = draw_poses(image, people[number], run.skeleton, scale=SIDE / max(image.shape[:2]))
        _, jpeg = cv2.imencode(".jpg", drawn[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        jpegs.append(jpeg.tobytes())
    return Images(title, note, jpegs)
