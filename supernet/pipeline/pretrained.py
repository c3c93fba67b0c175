"""Begin a training with the weights of another network: MODEL.PRETRAINED, also where its head is for other joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from ..io import checkpoint
from ..pose.datasets.kinds import skeletons
from ..pose.joint_mapping import joint_sources, rehead
from ..pose.keypoints import Skeleton, plain_name
from .progress import say

Build = Callable[[int], nn.Module]


def load_pretrained(network: nn.Module, build: Build, path: Path | str, skeleton: Skeleton) -> None:
    """Load what a file has of a network, joint by joint of the same name, and say what begins fresh.

    The joints of a file are those that it describes itself with; a file that does not is taken as it is where it fits, and
    otherwise as of COCO, CrowdPose or MPII where it has so many joints.

    Args:
        network: changed in place.
        build: the same network for any number of joints.
        path: of the weights.
        skeleton: of the network.

    Raises:
        UserError: the file is of another network.
    """
    content = checkpoint.read(Path(path))
    source = _described_skeleton(content)
    content = _of_supernet(checkpoint.state_dict_of(content, str(path)))
    if source is not None and _alike(source, skeleton):
        source = None
    if source is None:
        try:
            return _tell(path, checkpoint.load_checkpoint(network, content, strict=False))
        except UserError as error:
            source, refusal = _by_number(build, content, skeleton), error
            if source is None:
                raise UserError(f"{path}: {str(refusal).removeprefix('checkpoint: ')}") from None
    theirs = build(source.num_joints)
    try:
        loaded = checkpoint.load_checkpoint(theirs, content, strict=False)
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix('checkpoint: ')}") from None
    fresh = network.state_dict()
    mapped = rehead(
        theirs.state_dict(),
        _shapes(theirs),
        _shapes(network),
        source,
        skeleton,
        fresh=fresh,
        probe=_probe(build, source),
    )
    network.load_state_dict(mapped)
    _tell(path, loaded)
    say(_mapping(path, source, skeleton))


def _of_supernet(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a supernet's largest network under that network's own names; others as they are."""
    return {name.removeprefix("network."): tensor for name, tensor in weights.items()}


def _tell(path: Path | str, loaded: checkpoint.Loaded) -> None:
    if loaded.missing or loaded.unexpected:
        say(f"{path}: loaded; {len(loaded.missing)} tensors begin fresh, {len(loaded.unexpected)} left out")


def _mapping(path: Path | str, source: Skeleton, skeleton: Skeleton) -> str:
    """What became of each joint, in one line."""
    own = [plain_name(joint) for joint in source.joints]
    kept: list[str] = []
    others: list[str] = []
    fresh: list[str] = []
    for joint, sources in zip(skeleton.joints, joint_sources(skeleton, source, lenient=True), strict=True):
        group = fresh if not sources else kept if plain_name(joint) in own else others
        group.append(joint)
    parts = [f"{len(kept)} keep theirs by name"]
    if others:
        parts.append(f"{', '.join(others)} begin with their neighbours'")
    if fresh:
        parts.append(f"{'all' if len(fresh) == skeleton.num_joints else ', '.join(fresh)} begin fresh")
    numbers = f"{source.num_joints} joints made one of {skeleton.num_joints}"
    return f"{path}: the body is loaded, and the head of {numbers}: {', '.join(parts)}"


def _described_skeleton(content: Any) -> Skeleton | None:
    """The joints that a file describes itself with; None where it does not."""
    network = content.get("network") if isinstance(content, Mapping) else None
    keypoints = network.get("keypoints") if isinstance(network, Mapping) else None
    joints = keypoints.get("joints") if isinstance(keypoints, Mapping) else None
    if not isinstance(joints, list) or not joints or not all(isinstance(joint, str) for joint in joints):
        return None
    return Skeleton("the file", tuple(joints), ())


def _alike(first: Skeleton, second: Skeleton) -> bool:
    return [plain_name(joint) for joint in first.joints] == [plain_name(joint) for joint in second.joints]


def _by_number(build: Build, content: Any, skeleton: Skeleton) -> Skeleton | None:
    """The dataset with so many joints as a file has."""
    for known in skeletons().values():
        if known.num_joints != skeleton.num_joints:
            try:
                checkpoint.load_checkpoint(build(known.num_joints), content, strict=False)
            except UserError:
                continue
            return known
    return None


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _probe(build: Build, source: Skeleton) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shapes for one joint more, from which it follows what of a tensor belongs to joints."""
    return _shapes(build(source.num_joints + 1)), source.num_joints + 1
