"""Weights for one set of joints as weights for another: COCO's 17, CrowdPose's 14, MPII's 16.

What of a tensor belongs to the joints is found by building the same architecture for both numbers: where a dimension is
``base + n × joints``, its first ``base`` entries have nothing to do with joints. Up to two entries a joint (heatmaps, tags) lie
as one block for all joints after the other; more (SRPose's embeddings) lie side by side for each joint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import UserError
from .keypoints import Skeleton, plain_name

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
    "nose": (("head",), ("head_top", "upper_neck"), ("head_top", "neck")),
    **{
        f"{side}_{part}": (("head",), ("head_top", "upper_neck"), ("head_top", "neck"))
        for side in ("left", "right")
        for part in ("eye", "ear")
    },
}


_PLAIN_STAND_INS = {
    plain_name(joint): tuple(tuple(map(plain_name, names)) for names in stand_ins)
    for joint, stand_ins in STAND_INS.items()
}


def joint_sources(target: Skeleton, source: Skeleton, *, lenient: bool = False) -> Sources:
    """For every joint of ``target``, the joints of ``source`` that it is made of: itself, or its stand-ins.

    Args:
        target: joints that are wanted.
        source: joints that there are.
        lenient: names may differ in case and in what stands between words, and a joint without sources has none.

    Raises:
        UserError: when a joint has neither.
    """
    if lenient:
        target, source = _plain(target), _plain(source)
    places = {name: index for index, name in enumerate(source.joints)}
    result = []
    for joint in target.joints:
        stand_ins = _PLAIN_STAND_INS if lenient else STAND_INS
        for names in ((joint,), *stand_ins.get(joint, ())):
            if all(name in places for name in names):
                result.append(tuple(places[name] for name in names))
                break
        else:
            if lenient:
                result.append(())
                continue
            raise UserError(f"nothing in {source.name} stands for the joint {joint} of {target.name}")
    return tuple(result)


def rehead(
    weights: Mapping[str, Tensor],
    shapes: Shapes,
    target_shapes: Shapes,
    source: Skeleton,
    target: Skeleton,
    *,
    fresh: Mapping[str, Tensor] | None = None,
    probe: tuple[Shapes, int] | None = None,
) -> dict[str, Tensor]:
    """The weights for the joints of another dataset.

    A network that does not read its own heatmaps computes for every joint that both have exactly what it computed before.

    Args:
        weights: for the joints of ``source``.
        shapes: of the tensors of the network for ``source``, by name.
        target_shapes: of the same architecture for ``target``.
        source: joints of the weights.
        target: joints that are wanted.
        fresh: weights for ``target``, which give the entries of joints that have no source; None refuses such joints.
        probe: shapes for another number of joints than the source's, and that number: it tells which dimensions follow from
            the joints also where both datasets have equally many. None takes the target's.

    Raises:
        UserError: when a tensor's shape does not follow from the number of joints.
    """
    sources = joint_sources(target, source, lenient=fresh is not None)
    probed, joints = probe or (target_shapes, target.num_joints)
    result: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        begun = None if fresh is None else fresh[key]
        for dim, (size, other) in enumerate(zip(shapes[key], probed[key], strict=True)):
            if size != other:
                base, each = _layout(key, size, other, source.num_joints, joints)
                tensor = _mapped(tensor, dim, base, each, source.num_joints, sources, begun)
        result[key] = tensor
    return result


def _layout(key: str, size: int, other: int, joints: int, others: int) -> tuple[int, int]:
    """(entries that belong to no joint, entries a joint) of a dimension, by its sizes for two numbers of joints."""
    each, rest = divmod(size - other, joints - others)
    base = size - each * joints
    if rest or each < 1 or base < 0:
        raise UserError(f"{key}: {size} and {other} do not follow from {joints} and {others} joints")
    return base, each


def _mapped(
    tensor: Tensor, dim: int, base: int, each: int, joints: int, sources: Sources, fresh: Tensor | None
) -> Tensor:
    """The tensor with a dimension's entries moved to the joints that they are for; ``fresh`` fills those without sources.

    Where a tensor has two such dimensions, the other one of ``fresh`` may have another length by then; its first entries do.
    """
    flat, axis = tensor.movedim(dim, 0), 1 if each <= 2 else 0
    own = flat[:base]

    def grouped(values: Tensor, count: int) -> Tensor:
        shape = (each, count) if axis else (count, each)
        return values.reshape(*shape, *values.shape[1:])

    given = grouped(flat[base:], joints)
    begun = None if fresh is None else _cut(fresh.movedim(dim, 0), base, own.shape[1:])
    columns = []
    for index, names in enumerate(sources):
        if names or begun is None:
            columns.append(given.index_select(axis, torch.tensor(names)).mean(axis))
        else:
            columns.append(grouped(begun, len(sources)).select(axis, index).to(given.dtype))
    mapped = torch.stack(columns, axis).flatten(0, 1)
    return torch.cat([own, mapped]).movedim(0, dim).contiguous()


def _cut(fresh: Tensor, base: int, shape: torch.Size) -> Tensor:
    """What follows the first ``base`` entries, its other dimensions cut or repeated to a shape."""
    rest = fresh[base:]
    for dim, size in enumerate(shape, start=1):
        if rest.shape[dim] != size:
            rest = rest.index_select(dim, torch.arange(size) % rest.shape[dim])
    return rest


def _plain(skeleton: Skeleton) -> Skeleton:
    """The same with plain names."""
    return replace(skeleton, joints=tuple(map(plain_name, skeleton.joints)))
