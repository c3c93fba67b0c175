"""Draw a synthetic dataset: people, with annotations in the formats of COCO, CrowdPose and MPII, or things with other joints."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supernet.cli.command import bare_parser, run_program
from supernet.pipeline.progress import Progress
from supernet.pose.synthetic.dataset import PEOPLE, is_made, make_synthetic
from supernet.pose.synthetic.subjects import SUBJECTS

EXAMPLES = """  python tools/make_synthetic.py --root data/synthetic --train 2000 --val 200
  python tools/make_synthetic.py --root data/hands --subject hands --train 500 --val 50"""


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, for instance 192x192")
    return int(match[1]), int(match[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, draw what is not there yet, print the folder."""
    parser = bare_parser(__doc__, EXAMPLES)
    parser.add_argument("--root", type=Path, required=True, help="folder to make")
    parser.add_argument("--train", type=int, default=2000, metavar="N", help="training images (%(default)s)")
    parser.add_argument("--val", type=int, default=200, metavar="N", help="validation images (%(default)s)")
    parser.add_argument("--size", type=_size, default=(192, 192), metavar="WxH", help="in pixels (192x192)")
    parser.add_argument("--max-people", type=int, default=4, metavar="N", help="per image (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    subjects = "what is drawn: people, corners (4 joints), hands (21) or animals (17) (%(default)s)"
    parser.add_argument("--subject", choices=(PEOPLE, *SUBJECTS), default=PEOPLE, help=subjects)
    args = parser.parse_args(arguments)
    wanted: dict[str, Any] = {"train": args.train, "val": args.val, "width": args.size[0], "height": args.size[1],
                              "max_people": args.max_people, "seed": args.seed, "subject": args.subject}  # fmt: skip
    if is_made(args.root, **wanted):
        print(f"{args.root}: already made")
        return
    with Progress(f"drawing the synthetic dataset into {args.root}", args.train + args.val) as progress:
        make_synthetic(args.root, **wanted, progress=lambda done, _: progress.to(done))
    print(f"{args.root}: {args.train} training and {args.val} validation images")


if __name__ == "__main__":
    run_program(main)
