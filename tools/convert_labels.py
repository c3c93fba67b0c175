"""Convert labels of labelme, Label Studio or a CSV file to COCO's keypoint format, with joints in a given order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from supernet.cli.command import bare_parser, run_program
from supernet.errors import UserError
from supernet.io.files import read_json, write_atomically
from supernet.pose.datasets.label_files import read_label_studio, read_labelme
from supernet.pose.datasets.label_tables import read_csv
from supernet.pose.datasets.labelling import joints_of, to_coco

READERS = {"labelme": read_labelme, "label-studio": read_label_studio, "csv": read_csv}
EXAMPLES = """  python tools/convert_labels.py --from labelme --input labels --images images --out train.json
  python tools/convert_labels.py --from csv --input val.csv --images images --out val.json --joints train.json"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the file, say what it has."""
    parser = bare_parser(__doc__, EXAMPLES)
    parser.add_argument("--from", dest="tool", choices=READERS, required=True, help="whose labels")
    parser.add_argument(
        "--input", type=Path, required=True, help="labelme's folder, Label Studio's JSON, or the CSV file"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images (that of --input)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the COCO-format file to write")
    parser.add_argument("--joints", metavar="NAMES", help="in order: a,b,c or an earlier file of this program")
    parser.add_argument("--name", default="object", help="of the category (%(default)s)")
    options = parser.parse_args(arguments)
    if not options.input.exists():
        raise UserError(f"{options.input}: no such file or folder; give what the labelling tool wrote")
    named = _joints(options.joints) if options.joints is not None else None
    folder = options.images or (options.input if options.input.is_dir() else options.input.parent)
    images, passed = READERS[options.tool](options.input, folder)
    joints = named or joints_of(images)
    if not joints:
        raise UserError(f"{options.input}: no labelled point; label points with the names of joints")
    content = to_coco(images, joints, options.name)
    write_atomically(options.out, json.dumps(content))
    for kind, number in passed.items():
        print(f"passed over: {number} of kind {kind!r}")
    objects = content["annotations"]
    if empty := sum(not person["num_keypoints"] for person in objects):
        print(f"{empty} of {len(objects)} objects have a box and no joint: nothing is trained or evaluated on them")
    print(f"{options.out}: {len(images):,} images, {len(objects):,} objects, {len(joints)} joints: {', '.join(joints)}")


def _joints(text: str) -> list[str]:
    """Names parted by commas, or those of the category of a COCO-format file."""
    if not text.endswith(".json"):
        names = [name.strip() for name in text.split(",")]
        if len(set(names)) < len(names) or not all(names):
            raise UserError(f"--joints {text}: a name is empty or there twice; write a,b,c")
        return names
    content = read_json(Path(text), max_bytes=2**32)
    categories = content.get("categories") if isinstance(content, dict) else None
    for category in categories if isinstance(categories, list) else []:
        if isinstance(category, dict) and isinstance(category.get("keypoints"), list) and category["keypoints"]:
            return [str(name) for name in category["keypoints"]]
    raise UserError(f"--joints {text}: no category has 'keypoints'; give names, or a COCO-format file of them")


if __name__ == "__main__":
    run_program(main)
