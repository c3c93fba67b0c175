"""Reads files of labelme and Label Studio: points with names, groups and boxes of each image. Nothing is executed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.labelling import HIDDEN, VISIBLE, Box, Labelled, Point, Read, find_image

_LARGEST_FILE = 2**30  # bytes; labelme may keep the whole image in its file
_HIDDEN = ("hidden", "occluded")
_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file


def read_labelme(place: Path, images: Path) -> Read:
    """The files of labelme: ``shapes`` of the kinds point and rectangle; ``group_id`` says whose they are.

    A joint is hidden where the shape has a flag, or the description, ``hidden`` or ``occluded``.

    Args:
        place: a folder of JSON files, one for each image, or one of them.
        images: the folder of images.

    Raises:
        UserError: a file or a shape cannot be used, or an image is not there.
    """
    files = sorted(place.rglob("*.json")) if place.is_dir() else [place]
    if not files:
        raise UserError(f"{place}: no JSON file in this folder; give the folder into which labelme saved")
    passed: Counter[str] = Counter()
    return [_labelme(file, place, images, passed) for file in files], passed


def _labelme(file: Path, place: Path, images: Path, passed: Counter[str]) -> Labelled:
    content = read_json(file, max_bytes=_LARGEST_FILE)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise UserError(f"{file}: no file of labelme, which has 'shapes'; leave only these in the folder")
    points: list[Point] = []
    boxes: dict[object, Box] = {}
    for index, shape in enumerate(content["shapes"]):
        where = f"{file}: shape {index}"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise UserError(f"{where} has no label; name it in labelme")
        kind = str(shape.get("shape_type", "polygon"))
        group = _key(shape.get("group_id"), f"{where}: 'group_id'")
        if kind == "point":
            ((x, y),) = _corners(shape, where, 1)
            points.append(Point(shape["label"], x, y, _visibility(shape), group))
        elif kind == "rectangle":
            corners = _corners(shape, where)
            key = (index, "box") if group is None else group
            if key in boxes:
                raise UserError(f"{where}: a second rectangle of group {group}; every person has one box")
            boxes[key] = _around(corners)
        else:
            passed[kind] += 1
    width, height = (_size(content.get(key), f"{file}: '{key}'") for key in ("imageWidth", "imageHeight"))
    name = str(content.get("imagePath", "")).replace("\\", "/")
    beside = file.parent.relative_to(place) if file != place else Path()
    names = [(beside / name).as_posix(), name, PurePosixPath(name).name]
    return Labelled(str(file), find_image(file, images, names), width, height, points, boxes)


def _corners(shape: Mapping[str, Any], where: str, wanted: int = 0) -> list[tuple[float, float]]:
    corners = shape.get("points")
    if not isinstance(corners, list) or len(corners) < 1 or (wanted and len(corners) != wanted):
        raise UserError(f"{where} ({shape['label']!r}) has no points, or too many; draw it anew")
    return [_pair(corner, f"{where} ({shape['label']!r})") for corner in corners]


def _visibility(shape: Mapping[str, Any]) -> int:
    flags = shape.get("flags")
    words = [name for name, value in flags.items() if value] if isinstance(flags, dict) else []
    words.append(str(shape.get("description") or ""))
    return HIDDEN if any(word.strip().lower() in _HIDDEN for word in words) else VISIBLE


def read_label_studio(file: Path, images: Path) -> Read:
    """Label Studio's export "JSON": results of KeyPointLabels and RectangleLabels, in percent of the image.

    A point belongs to the rectangle that is its parent in the list of regions. It is hidden where a choice of the region
    (``perRegion``) is ``hidden`` or ``occluded``. Of several annotations of a task the first counts that was not cancelled.

    Args:
        file: the export.
        images: the folder of images.

    Raises:
        UserError: the file is another export, a result cannot be used, or an image is not there.
    """
    tasks = read_json(file, max_bytes=_LARGEST_FILE)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"{file}: no list of tasks; export as JSON")
    passed: Counter[str] = Counter()
    found = []
    for index, task in enumerate(tasks):
        where = f"{file}: task {task.get('id', index)}"
        if not isinstance(task.get("data"), dict) or not isinstance(task.get("annotations"), list):
            raise UserError(f"{where} has no 'data' and 'annotations'; export as JSON, not as JSON-MIN")
        done = [each for each in task["annotations"] if isinstance(each, dict) and not each.get("was_cancelled")]
        passed["further annotation of a task"] += max(0, len(done) - 1)
        results = done[0].get("result") if done else []
        if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
            raise UserError(f"{where}: its annotation has no list 'result'; export as JSON")
        if not results:
            passed["task without a label"] += 1
            continue
        found.append(_task(where, task["data"], results, images, passed))
    return found, +passed


def _task(
    where: str, data: Mapping[str, Any], results: Sequence[Mapping[str, Any]], images: Path, passed: Counter[str]
) -> Labelled:
    what = f"{where}: 'original_width' or 'original_height'"
    sizes = {
        (_size(each["original_width"], what), _size(each.get("original_height"), what))
        for each in results
        if "original_width" in each
    }
    if len(sizes) != 1:
        raise UserError(f"{where}: its results have {len(sizes)} sizes of the image (original_width); export again")
    ((width, height),) = sizes
    hidden = {_key(each.get("id"), where) for each in results if _says_hidden(each)}
    points: list[Point] = []
    boxes: dict[object, Box] = {}
    for each in results:
        kind, value, place = each.get("type"), each.get("value"), f"{where}, result {each.get('id')}"
        id, parent = (_key(each.get(name), f"{place}: {name!r}") for name in ("id", "parentID"))
        if kind not in ("keypointlabels", "rectanglelabels"):
            passed[str(kind)] += kind != "choices"
            continue
        if not isinstance(value, dict) or not isinstance(value.get(kind), list) or len(value[kind]) != 1:
            raise UserError(f"{place}: {kind} without one label; give it one")
        if each.get("image_rotation") or value.get("rotation"):
            raise UserError(f"{place}: the image or box is rotated, which COCO's format has not; turn it back")
        x, y = _pair((value.get("x"), value.get("y")), place)
        x, y = x * width / 100, y * height / 100
        if kind == "keypointlabels":
            visibility = HIDDEN if id in hidden else VISIBLE
            points.append(Point(str(value[kind][0]), x, y, visibility, parent))
        else:
            w, h = _pair((value.get("width"), value.get("height")), place)
            boxes[id] = (x, y, w * width / 100, h * height / 100)
    loose = [point for point in points if point.group is not None and point.group not in boxes]
    if loose:
        raise UserError(f"{where}: point {loose[0].joint!r} belongs to a region that is no rectangle; move it to one")
    return Labelled(where, find_image(where, images, _names_of(where, data)), width, height, points, boxes)


def _says_hidden(result: Mapping[str, Any]) -> bool:
    """Whether a result is the choice that its region is hidden."""
    value = result.get("value")
    choices = value.get("choices") if result.get("type") == "choices" and isinstance(value, dict) else None
    return isinstance(choices, list) and any(str(choice).lower() in _HIDDEN for choice in choices)


def _names_of(where: str, data: Mapping[str, Any]) -> list[str]:
    """The names that an image of Label Studio may have in a folder, from its address."""
    texts = [value for key, value in data.items() if isinstance(value, str) and key in ("image", "img")]
    texts = texts or [value for value in data.values() if isinstance(value, str)]
    if len(texts) != 1:
        raise UserError(f"{where}: 'data' does not say which one is the image; call it 'image'")
    address = urlsplit(texts[0])
    local = parse_qs(address.query).get("d")  # /data/local-files/?d=folder/image.jpg
    path = PurePosixPath((local[0] if local else unquote(address.path)).replace("\\", "/").lstrip("/"))
    return [str(path), path.name, _UPLOADED.sub("", path.name, count=1)]


def _key(value: Any, what: str) -> Any:
    """A value that names a group."""
    if value is not None and not isinstance(value, (int, str)):
        raise UserError(f"{what} is {str(value)[:60]}; give a number or text")
    return value


def _size(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6 or value != int(value):
        raise UserError(f"{what} is {value!r}; give the size of the image in pixels")
    return int(value)


def _pair(values: Any, where: str) -> tuple[float, float]:
    numbers = (
        [value for value in values if isinstance(value, (int, float))] if isinstance(values, (list, tuple)) else []
    )
    if len(numbers) != 2 or len(values) != 2:
        raise UserError(f"{where}: {str(values)[:60]} is not two numbers; label it anew")
    return float(numbers[0]), float(numbers[1])


def _around(corners: Sequence[tuple[float, float]]) -> Box:
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
