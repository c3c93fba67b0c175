"""Check a dataset before training: count what is passed over or implausible, and draw samples on one page.

The data are read as training and evaluating would read them, every image included. Errors end with exit code 2, after the
page is written. train.py and search.py make the same checks before their first step, without decoding every image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import UserError
from ..pipeline.check import Findings, examine, joint_counts
from ..pipeline.check_samples import sample_pictures
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..report.check_page import SamplePictures, write_check_page
from .command import parser, run_of, run_program

EXAMPLES = """  python tools/check_data.py --cfg experiments/synthetic/litepose.yaml
  python tools/check_data.py --cfg experiments/coco/litepose_xs.yaml --out coco.html DATASET.ROOT /data/coco
  python tools/check_data.py --cfg experiments/coco/litepose_xs.yaml --no-pixels DATASET.ROOT /data/coco"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument("--out", type=Path, default=Path("check.html"), metavar="FILE", help="the page (check.html)")
    command.add_argument("--samples", type=int, default=24, metavar="N", help="how many samples to draw (24)")
    command.add_argument("--no-pixels", action="store_true", help="decode no image but the samples; much quicker")
    options = command.parse_args(arguments)
    if not 0 <= options.samples <= 100:
        raise UserError(f"--samples {options.samples}: give a number from 0 to 100")
    run = run_of(options)
    found = examine(run, pixels=not options.no_pixels)
    samples = _samples(run, found, options.samples)
    for kind, line in found.lines():
        say(f"{kind}: {line}")
    write_check_page(
        options.out,
        title=f"Data of {options.cfg.stem}",
        facts=_facts(run),
        parts=pd.DataFrame(found.rows),
        lines=list(found.lines()),
        joints=_joints(run, found),
        samples=samples,
    )
    say(f"{sum(row['images'] for row in found.rows):,} images, {sum(row['people'] for row in found.rows):,} people")
    say(str(options.out))
    if errors := list(dict.fromkeys(found.errors)):
        more = f" (the first of {len(errors)} errors; all are above)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}")


def _samples(run: Run, found: Findings, most: int) -> list[SamplePictures]:
    """The samples; without any where their own images cannot be used, which is an error of its own."""
    if "train" not in found.parts or not most:
        return []
    try:
        return sample_pictures(run, found.parts["train"], most)
    except UserError as error:
        if not found.errors:
            found.errors.append(str(error))
        return []


def _facts(run: Run) -> dict[str, Any]:
    data = run.cfg.DATASET
    unit = "people one by one" if run.data.approach == "top-down" else "images with everybody on them"
    return {
        "dataset": f"{data.DATASET} ({run.data.approach}: {unit})",
        "skeleton": f"{run.skeleton.name}, {run.skeleton.num_joints} joints",
        "configuration": run.source,
    }


def _joints(run: Run, found: Findings) -> pd.DataFrame:
    if "train" not in found.parts:
        return pd.DataFrame()
    labelled, hidden = joint_counts(found.parts["train"])
    skeleton = run.skeleton
    return pd.DataFrame(
        {
            "joint": skeleton.joints,
            "becomes, mirrored": [skeleton.joints[index] for index in skeleton.flip_index],
            "labelled on": labelled,
            "hidden of these": hidden,
        }
    )


def program() -> None:
    """``python tools/check_data.py``."""
    run_program(main)
