"""Convert the checkpoint of a published network into one of this project, on request for the joints of another dataset.

The file is read as data only. Plain state dicts, mmpose's layouts, prefixes and wrappers, and LitePose's own supernet are
understood. What is written holds ``state_dict``, the architecture, and the number of joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from search_spaces import FAMILIES, find_published
from supernet.cli.command import bare_parser, run_program
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.run import architecture_of
from supernet.pose.datasets.kinds import skeletons
from supernet.pose.joint_mapping import rehead
from supernet.pose.keypoints import Skeleton
from supernet.sharing.channel_sorting import sort_channels

EXAMPLES = """  python tools/convert_checkpoint.py --network litepose_XS_coco downloaded.pth --out litepose_XS_coco.pt
  python tools/convert_checkpoint.py --network higherhrnet_w32_512_coco downloaded.pth \\
      --joints crowdpose --out w32_crowdpose.pt
  python tools/convert_checkpoint.py --family litepose --superconfig litepose-XS supernet.pth \\
      --sort-channels litepose --out xs.pt"""
Build = Callable[[int], nn.Module]


def load(build: Build, path: Path, strict: bool) -> tuple[nn.Module, int, checkpoint.Loaded]:
    """The network with the file's weights, for the number of joints that the file is for.

    Raises:
        UserError: when it fits none.
    """
    content, refusal = checkpoint.read(path), None
    for joints in sorted({skeleton.num_joints for skeleton in skeletons().values()}, reverse=True):
        network = build(joints)
        try:
            return network, joints, checkpoint.load_checkpoint(network, content, strict=strict)
        except UserError as error:
            refusal = refusal or error
    assert refusal is not None
    raise UserError(f"{path}: {str(refusal).removeprefix('checkpoint: ')}")


def skeleton_of(joints: int) -> Skeleton:
    """The dataset with so many joints."""
    return next(skeleton for skeleton in skeletons().values() if skeleton.num_joints == joints)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of all tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, convert, say what was missing."""
    command = bare_parser(__doc__, EXAMPLES)
    command.add_argument("checkpoint", type=Path, help="the file to convert")
    command.add_argument("--out", type=Path, required=True, help="the file to write")
    command.add_argument("--network", help="published network, see tools/profile.py --published")
    command.add_argument("--family", choices=list(FAMILIES), help="with --superconfig: the family of the architecture")
    command.add_argument("--superconfig", help="architecture: a JSON file, or a name that the family has published")
    command.add_argument("--joints", choices=list(skeletons()), help="the dataset to convert to")
    command.add_argument(
        "--sort-channels",
        choices=("same_function", "litepose"),
        help="important channels first, the function unchanged, or as LitePose's own program does it to its supernet",
    )
    command.add_argument(
        "--partial", action="store_true", help="accept a file without the head, and name what is missing"
    )
    options = command.parse_args(arguments)
    if (options.network is None) == (options.superconfig is None) or bool(options.family) != bool(options.superconfig):
        command.error("give either --network, or --family and --superconfig")
    if options.network:
        family, entry = find_published(options.network)
        arch, settings = entry.arch, dict(entry.options)
    else:
        family, settings = FAMILIES[options.family], {}
        arch = architecture_of(family, options.superconfig)
    if options.sort_channels == "litepose":
        if family is not FAMILIES["litepose"]:
            raise UserError("--sort-channels litepose is for LitePose's supernet; write same_function")
        settings["reorganize"] = True

    def build(joints: int) -> nn.Module:
        network: nn.Module = family.build(arch, joints, **settings)
        return network.eval()

    network, joints, loaded = load(build, options.checkpoint, not options.partial)
    if options.sort_channels == "same_function":
        sort_channels(network, (1, 3, *arch.input_hw))
    weights: dict[str, Any] = dict(network.state_dict())
    if options.joints and skeletons()[options.joints].num_joints != joints:
        target = skeletons()[options.joints]
        weights = rehead(weights, shapes(network), shapes(build(target.num_joints)), skeleton_of(joints), target)
        joints = target.num_joints
    content = {"state_dict": checkpoint.packed(weights), "arch": family.to_json(arch), "joints": joints}
    checkpoint.save(options.out, content)
    for what, names in (("missing, begin fresh", loaded.missing), ("not used", loaded.unexpected)):
        if names:
            print(f"{len(names)} tensors {what}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}")
    print(f"{options.out}: {len(weights)} tensors for {joints} joints")


if __name__ == "__main__":
    run_program(main)
