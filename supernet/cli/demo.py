"""Find people on an image, on the images of a folder or in a video: drawn, and as JSON.

The network is one file: weights.pt as train.py and search.py leave them, or net.onnx of tools/export.py. Both say what they are;
weights of other programs need --cfg, and --superconfig for their architecture. Without any, it is the one that comes with the
package, for a photograph that one person fills.

The folder of --out gets each image (or the video, .mp4) with the people drawn on it, and poses.json. Coordinates there
are x before y in pixels of the image, turned upright by its camera's mark, (0, 0) the centre of the upper left pixel.

A bottom-up network (DATASET.DATASET coco_kpt or crowd_pose_kpt) finds everybody by itself. A top-down one (coco,
crowdpose, mpii) is shown one box after the other: those of --boxes, else the whole image as one box. --boxes is a COCO
annotation file, or a list of {"file_name" or "image_id", "bbox": [x, y, width, height], "score"}; an image_id belongs to
the image whose name is that number, as COCO's are.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..io.files import read_json, write_atomically
from ..pipeline.estimator import PoseEstimator
from ..pipeline.progress import Progress, say
from ..pipeline.shipped import weights_of
from ..pose.datasets.images import read_upright
from ..pose.task import DetectedPerson
from ..pose.visualisation import contact_sheet, draw_poses, save_image
from .command import MODEL_FILE, given_value, parser, run_of, run_program, whole

EXAMPLES = """  python tools/demo.py --input photo.jpg
  python tools/demo.py --weights output/synthetic/litepose/subnets/S/retrained/weights.pt --input photos --out poses
  python tools/demo.py --weights net.onnx --input film.mp4
  python tools/demo.py --cfg experiments/coco/hrnet_w32_256x192.yaml --weights pose_hrnet_w32_256x192.pth --input photo.jpg"""
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
SHEET = 24  # images of --sheet
LARGEST_FILE = 4 * 2**30  # bytes of --boxes

Image = NDArray[np.uint8]
Shown = tuple[str, Image]  # name of an image, or number of a frame, and its pixels
Box = tuple[float, float, float, float, float]  # x, y, width, height, score


def read_boxes(file: Path, names: Sequence[str]) -> dict[str, list[Box]]:
    """The boxes of each image by its name.

    Raises:
        UserError: the file is neither of the two kinds, an entry has no box, or none is for these images.
    """
    raw = read_json(file, max_bytes=LARGEST_FILE)
    entries: Any = raw.get("annotations") if isinstance(raw, dict) else raw
    if not isinstance(entries, list):
        raise UserError(f"{file}: neither a list of boxes nor a COCO annotation file; see --help")
    numbers: dict[Any, str] = {int(Path(name).stem): name for name in names if Path(name).stem.isdecimal()}
    if isinstance(raw, dict):
        try:
            numbers = {image["id"]: str(image["file_name"]) for image in raw.get("images", [])}
        except (TypeError, KeyError):
            raise UserError(f"{file}: an entry of 'images' needs 'id' and 'file_name': correct or remove it") from None
    boxes: dict[str, list[Box]] = {name: [] for name in names}
    for index, entry in enumerate(entries):
        try:
            x, y, width, height, score = map(float, (*entry["bbox"], entry.get("score", 1)))
            name = str(entry["file_name"]) if "file_name" in entry else numbers.get(entry["image_id"])
            if not np.isfinite((x, y, width, height, score)).all():
                raise ValueError
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
            raise UserError(
                f"{file}: entry {index} needs 'bbox' (4 numbers) and 'file_name' or 'image_id': correct or remove it"
            ) from None
        if name in boxes and width > 0 and height > 0 and not entry.get("iscrowd"):
            boxes[name].append((x, y, width, height, score))
    if not any(boxes.values()):
        raise UserError(f"{file}: no box for any of the images ({names[0]}, …): give boxes for these")
    return boxes


# ------------------------------------------------------------------------------------------------- images and videos


def images_of(source: Path) -> list[Path]:
    """The images of a folder in order of their names, or the one image.

    Raises:
        UserError: there is no such thing, or no image in the folder.
    """
    if not source.exists():
        raise UserError(f"--input {source} does not exist: give an image, a folder of images or a video")
    if source.is_file():
        return [source]
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGES)
    if not found:
        raise UserError(f"--input {source} holds no image ({', '.join(IMAGES)}): give another folder")
    return found


class Video:
    """The frames of a video, and a video of the same size and speed to draw them into.

    Raises:
        UserError: the video cannot be read, or the other cannot be written.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = source, target
        self._reader = cv2.VideoCapture(str(source))
        if not self._reader.isOpened():
            raise UserError(f"--input {source} cannot be read as a video: give another file")
        self.count = max(0, int(self._reader.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._rate = self._reader.get(cv2.CAP_PROP_FPS) or 25.0
        self._writer: cv2.VideoWriter | None = None

    def frames(self) -> Iterator[Shown]:
        """Number and RGB pixels of each frame."""
        number = 0
        while True:
            whole, frame = self._reader.read()
            if not whole:
                self._reader.release()
                return
            yield str(number), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
            number += 1

    def write(self, image: Image) -> None:
        """Add a drawn frame."""
        if self._writer is None:
            size_wh = (image.shape[1], image.shape[0])
            self._writer = cv2.VideoWriter(str(self.target), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, size_wh)
            if not self._writer.isOpened():
                raise UserError(f"{self.target} cannot be written as a video: give another folder with --out")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the drawn video."""
        if self._writer is not None:
            self._writer.release()


# ------------------------------------------------------------------------------------------------------------- program


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, find people, draw them, write poses.json, print the speed."""
    superconfig = "architecture of weights that do not say it: a JSON file or a published name"
    command = parser(__doc__, EXAMPLES, superconfig=superconfig, weights="the network")
    command.add_argument("--input", type=Path, required=True, help="an image, a folder of images or a video")
    command.add_argument("--out", type=Path, default=Path("poses"), metavar="FOLDER", help="where to draw (poses)")
    command.add_argument("--boxes", type=Path, metavar="FILE", help="where people are, for a top-down network")
    command.add_argument("--sheet", type=Path, metavar="FILE", help="also draw the first 24 images side by side here")
    command.add_argument("--score", type=float, default=0.3, help="people of a lower score are left out")
    command.add_argument("--batch", type=whole(1, 65_536), default=1, help="images that the network sees at once")
    options = command.parse_args(arguments)
    if options.weights or (options.cfg is None and not given_value(options.overrides, MODEL_FILE)):
        options.weights = weights_of(options.weights)
    run = run_of(options)
    if options.sheet and options.sheet.resolve() in (options.input.resolve(), *options.input.resolve().glob("*")):
        raise UserError(f"--sheet {options.sheet} is an input, which would be overwritten: give another file")
    if options.out.resolve() in (options.input.resolve(), options.input.resolve().parent):
        raise UserError(f"--out {options.out} is where the input lies, which would be overwritten: give another folder")

    is_video = options.input.suffix.lower() in VIDEOS and options.input.is_file()
    video = Video(options.input, options.out / f"{options.input.stem}.mp4") if is_video else None
    paths = [] if video else images_of(options.input)
    estimator = PoseEstimator.of_run(run, options.superconfig)
    boxes = None
    if options.boxes:
        if estimator.approach == "bottom-up":
            raise UserError(
                f"--boxes: DATASET.DATASET {run.cfg.DATASET.DATASET} is bottom-up and finds people by itself"
            )
        if video:
            raise UserError(
                "--boxes are for images, a video has no names: leave them out, or give its frames as images"
            )
        boxes = read_boxes(options.boxes, [path.name for path in paths])

    options.out.mkdir(parents=True, exist_ok=True)
    source = video.frames() if video else ((path.name, read_upright(path)) for path in paths)
    records, seconds = [], 0.0
    tiles: list[Image] = []
    with Progress("poses", video.count if video else len(paths)) as progress:
        while batch := list(islice(source, options.batch)):
            started = time.perf_counter()
            shown, given = [image for _, image in batch], [boxes[name] for name, _ in batch] if boxes else None
            found = estimator.predict(shown, given)
            seconds += time.perf_counter() - started
            for (name, image), people in zip(batch, found, strict=True):
                kept = [person for person in people if person.score >= options.score]
                records.append(_record(name, image, kept))
                joints = np.array([person.keypoints for person in kept]).reshape(-1, run.skeleton.num_joints, 3)
                drawn = draw_poses(image, joints, run.skeleton)
                video.write(drawn) if video else save_image(options.out / name, drawn)
                if options.sheet and len(tiles) < SHEET:
                    tiles.append(drawn)
            progress.to(len(records))
    if video:
        video.close()
    if options.sheet:
        save_image(options.sheet, contact_sheet(tiles, columns=math.ceil(math.sqrt(len(tiles))), cell=256))
    head = {"skeleton": run.skeleton.name, "joints": run.skeleton.joints}
    write_atomically(options.out / "poses.json", json.dumps(head | {"images": records}) + "\n")
    count = sum(len(record["people"]) for record in records)
    say(
        f"{count} people on {len(records)} {'frames' if video else 'images'}; {len(records) / seconds:.1f} a second "
        f"({run.device.type}, network and decoding); {options.out}"
    )


def _record(name: str, image: Image, people: Sequence[DetectedPerson]) -> dict[str, Any]:
    """One image of poses.json."""
    height, width = image.shape[:2]
    found = [
        {"score": round(person.score, 4), "keypoints": np.round(person.keypoints.astype(float), 3).tolist()}
        for person in people
    ]
    return {"name": name, "width": width, "height": height, "people": found}


def program() -> None:
    """``python tools/demo.py``."""
    run_program(main)
