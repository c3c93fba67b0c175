"""Draw what a network finds on pictures of its test split: ground truth above, predictions below.

python tools/draw_poses.py --cfg CFG --superconfig SUBNET/arch.json --out poses.png TEST.MODEL_FILE SUBNET/retrained/weights.pt
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from supernet import checkpoint
from supernet.config import load_config
from supernet.pose.drawing import contact_sheet, draw_poses, save_image
from supernet.pose.images import read_image
from supernet.pose.inference import predict
from supernet.programs.command import run
from supernet.programs.setting import Setting
from supernet.programs.train import place


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, predict, draw, print the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, required=True)
    parser.add_argument("--superconfig", required=True, help="the checkpoint's architecture")
    parser.add_argument("--out", type=Path, default=Path("poses.png"))
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--score", type=float, default=0.3, help="draw people with at least this mean heat value")
    parser.add_argument("--cell", type=int, default=256, help="side of a picture in the sheet, pixels")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE")
    options = parser.parse_args(arguments)
    setting = Setting(load_config(options.cfg, options.overrides), options.cfg)
    arch = setting.architecture(options.superconfig)
    network = setting.build(arch)
    checkpoint.load_checkpoint(network, setting.cfg.TEST.MODEL_FILE)
    place(network, setting).eval()

    wanted = setting.test.annotated()[: options.pictures]
    images = [read_image(image.path) for image in wanted]
    settings = replace(setting.task.inference, input_size=arch.input_hw[0])
    with torch.inference_mode():
        found = predict(network, images, settings, device=setting.device, channels_last=setting.cfg.CHANNELS_LAST)
    labelled = [
        draw_poses(image, np.stack([person.keypoints_K3 for person in entry.people]), setting.skeleton)
        for image, entry in zip(images, wanted, strict=True)
    ]
    drawn = [
        draw_poses(image, people.keypoints[people.scores >= options.score], setting.skeleton)
        for image, people in zip(images, found, strict=True)
    ]
    save_image(options.out, contact_sheet(labelled + drawn, columns=len(images), cell=options.cell))
    print(options.out)


if __name__ == "__main__":
    run(main)
