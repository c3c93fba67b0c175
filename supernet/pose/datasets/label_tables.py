"""Reads keypoints from a table (CSV) with a row for each person."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from supernet.errors import UserError
from supernet.io.reading import read_text
from supernet.pose.datasets.images import image_path, read_image
from supernet.pose.datasets.labelling import Box, Labelled, Point, Read, find_image

_BOX = ("box_x", "box_y", "box_w", "box_h")


def read_csv(file: Path, images: Path) -> Read:
    """A table with a row for each person: ``image``, then for each joint ``NAME_x``, ``NAME_y`` and perhaps ``NAME_v``.

    ``x1,y1,x2,y2`` names the joints 1 and 2. Cells of a joint that is not labelled are empty. ``box_x``, ``box_y``,
    ``box_w`` and ``box_h`` are the person's box. Columns are parted by commas or semicolons.

    Args:
        file: the table, UTF-8.
        images: the folder of images, whose sizes are read.

    Raises:
        UserError: a column is missing or unknown, a cell is no number, or an image is not there.
    """
    try:
        text = read_text(file).removeprefix("\ufeff")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not text in UTF-8 (byte {error.start})") from None
    semicolons = "," not in text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=";" if semicolons else ",", strict=True)
    found: dict[str, tuple[list[Point], dict[object, Box]]] = {}
    try:
        head = [name.strip() for name in next(rows, [])]
        columns = _columns(head, file)
        for row in rows:
            if not any(row):
                continue
            where = f"{file}: line {rows.line_num}"
            if len(row) != len(head):
                raise UserError(f"{where} has {len(row)} cells, the header {len(head)}; correct it")
            name = find_image(where, images, [row[head.index("image")].strip()])
            points, boxes = found.setdefault(name, ([], {}))
            points += _row(dict(zip(head, row, strict=True)), columns, where, boxes, rows.line_num)
    except csv.Error as error:
        raise UserError(f"{file}: line {rows.line_num}: {error}; write it as CSV") from None
    labelled = []
    for name, (points, boxes) in found.items():
        height, width = read_image(image_path(images, name)).shape[:2]
        labelled.append(Labelled(f"{file}: image {name}", name, width, height, points, boxes))
    return labelled, Counter()


def _columns(head: Sequence[str], file: Path) -> dict[str, tuple[str, str, str]]:
    """Joint -> its columns of x, y and visibility."""
    repeated = [name for name, number in Counter(head).items() if number > 1]
    if "image" not in head or repeated:
        raise UserError(
            f"{file}: its first line needs a column 'image', and every name once; it has {', '.join(head)[:80]}"
        )
    joints: dict[str, tuple[str, str, str]] = {}
    for name in head:
        if name in ("image", *_BOX):
            continue
        match = re.fullmatch(r"(?P<joint>.+)_[xyv]|[xyv](?P<number>\d+)", name)
        if match is None:
            raise UserError(
                f"{file}: column {name!r} is none of image, {', '.join(_BOX)}, NAME_x, NAME_y, NAME_v; rename it"
            )
        joint = match["joint"] or match["number"]
        joints[joint] = (
            (f"{joint}_x", f"{joint}_y", f"{joint}_v") if match["joint"] else (f"x{joint}", f"y{joint}", f"v{joint}")
        )
    for joint, (x, y, _) in joints.items():
        if x not in head or y not in head:
            raise UserError(f"{file}: joint {joint!r} needs the columns {x} and {y}; add what is missing")
    if not joints or 0 < sum(name in head for name in _BOX) < len(_BOX):
        raise UserError(f"{file}: needs NAME_x and NAME_y of a joint, and all of {', '.join(_BOX)} or none; add them")
    return joints


def _row(
    row: Mapping[str, str], columns: Mapping[str, tuple[str, str, str]], where: str, boxes: dict[object, Box], line: int
) -> Iterator[Point]:
    """The joints of a person; its box goes to the boxes."""
    if _BOX[0] in row and any(row[name].strip() for name in _BOX):
        x, y, w, h = (_number(row[name], f"{where}, {name}") for name in _BOX)
        boxes[line] = (x, y, w, h)
    for joint, (x_name, y_name, v_name) in columns.items():
        visibility = row.get(v_name, "").strip() or "2"
        if visibility not in ("0", "1", "2", "0.0", "1.0", "2.0"):
            raise UserError(f"{where}, {v_name}: {visibility!r} is not 0 (not labelled), 1 (hidden) or 2 (visible)")
        if visibility[0] == "0" or not (row[x_name].strip() or row[y_name].strip()):
            continue
        x, y = (_number(row[name], f"{where}, {name}") for name in (x_name, y_name))
        yield Point(joint, x, y, int(visibility[0]), line)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"{where}: {text[:40]!r} is no number; write one, with a point, or leave x and y empty"
        ) from None
