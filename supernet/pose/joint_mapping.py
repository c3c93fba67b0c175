"""Weights for one set of joints as weights for another: COCO's 17, CrowdPose's 14, MPII's 16.

What of a tensor belongs to the joints is found by building the same architecture for both numbers: where a dimension is
``base + n × joints``, its first ``base`` entries have nothing to do with joints. Up to two entries a joint (heatmaps, tags) lie
as one block for all joints after the other; more (SRPose's embeddings) lie side by side for each joint.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import UserError
from .keypoints import Skeleton

Sources = tuple[tuple[int, ...], ...]
Shapes = Mapping[str, tuple[int, ...]]

#: What may stand for a joint that a dataset does not have: the first of these sets that it has, averaged.
_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
STAND_INS: dict[str, tuple[tuple[str, ...], ...]] = {
    "neck": (("upper_neck",), ("thorax",), _SHOULDERS),
    "upper_neck": (("neck",), _SHOULDERS),
    "thorax": (("neck",), _SHOULDERS),
    "pelvis": (_HIPS,),
    "head": (("head_top",), ("nose",)),
    "head_top": (("head",), ("nose",)),
    "nose": (("head",), ("head_top", "upper_neck")),
    **{
        f"{side}_{part}": (("head",), ("head_top", "upper_neck"))
        for side in ("left", "right")
        for part in ("eye", "ear")
    },
}


def joint_sources(target: Skeleton, source: Skeleton) -> Sources:
    """For every joint of ``target``, the joints of ``source`` that it is made of: itself, or its stand-ins.

    Raises:
        UserError: when a joint has neither.
    """
    places = {name: index for index, name in enumerate(source.joints)}
    result = []
    for joint in target.joints:
        for names in ((joint,), *STAND_INS.get(joint, ())):
            if all(name in places for name in names):
                result.append(tuple(places[name] for name in names))
                break
        else:
            raise UserError(f"nothing in {source.name} stands for the joint {joint} of {target.name}")
    return tuple(result)


def rehead(
    weights: Mapping[str, Tensor], shapes: Shapes, target_shapes: Shapes, source: Skeleton, target: Skeleton
) -> dict[str, Tensor]:
    """The weights for the joints of another dataset.

    A network that does not read its own heatmaps computes for every joint that both have exactly what it computed before.

    Args:
        weights: for the joints of ``source``.
        shapes: of the tensors of the network for ``source``, by name.
        target_shapes: of the same architecture for ``target``.
        source: joints of the weights.
        target: joints that are wanted.

    Raises:
        UserError: when a tensor's shape does not follow from the number of joints.
    """
    sources, result = joint_sources(target, source), dict(weights)
    for key, tensor in weights.items():
        for dim, (size, wanted) in enumerate(zip(shapes[key], target_shapes[key], strict=True)):
            if size != wanted:
                base, each = _layout(key, size, wanted, source, target)
                result[key] = _mapped(result.get(key, tensor), dim, base, each, source.num_joints, sources)
    return result


def _layout(key: str, size: int, wanted: int, source: Skeleton, target: Skeleton) -> tuple[int, int]:
    """(entries that belong to no joint, entries a joint) of a dimension."""
    each, rest = divmod(size - wanted, source.num_joints - target.num_joints)
    base = size - each * source.num_joints
    if rest or each < 1 or base < 0:
        raise UserError(
            f"{key}: {size} and {wanted} do not follow from {source.num_joints} and {target.num_joints} joints"
        )
    return base, each


def _mapped(tensor: Tensor, dim: int, base: int, each: int, joints: int, sources: Sources) -> Tensor:
    flat = tensor.movedim(dim, 0)
    own, rest = flat[:base], flat[base:]
    blocked = each <= 2
    grouped = rest.view(each, joints, *rest.shape[1:]) if blocked else rest.view(joints, each, *rest.shape[1:])
    axis = 1 if blocked else 0
    columns = [grouped.index_select(axis, torch.tensor(names)).mean(axis) for names in sources]
    mapped = torch.stack(columns, axis).flatten(0, 1)
    return torch.cat([own, mapped]).movedim(0, dim).contiguous()
