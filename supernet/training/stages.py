"""Progressive shrinking: stages that open one kind of choice after another (Once-for-All, Cai et al. 2020, §3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from ..errors import UserError
from ..sharing.label_audit import check_labels
from ..sharing.meta import meta_network
from ..sharing.probes import RestrictableSpace, image_batch
from ..sharing.separate_weights import largest_of_options, shared_network
from ..sharing.slicing import slices_of

A = TypeVar("A")

SAMPLES = 5  # random architectures of which the audit looks whether their modules are in the largest


@dataclass(frozen=True)
class Stage(Generic[A]):
    """One stage of progressive shrinking: training on the part of the space that is open by then, for steps or epochs."""

    name: str
    space: RestrictableSpace[A]
    steps: int
    epochs: int
    lr: float


def stages(space: RestrictableSpace[A], settings: Sequence[Mapping[str, Any]]) -> list[Stage[A]]:
    """Make the stages of progressive shrinking from their settings.

    Args:
        space: the whole space.
        settings: one mapping per stage: ``name``, ``open`` (kinds of choices, such as ``kernel``, or patterns of their
            paths), ``steps`` or ``epochs``, and ``lr`` (without one, 0: the training's own). What a stage opens stays
            open; everything else is at its largest option.

    Raises:
        UserError: when a stage opens a choice that the space does not have.
    """
    opened: dict[str, str] = {}
    result: list[Stage[A]] = []
    for setting in settings:
        opened |= dict.fromkeys(setting["open"], "all")
        try:
            part = space.restrict(opened, rest="largest")
        except ValueError as error:
            raise UserError(f"SUPERNET.STAGES, stage {setting['name']!r}: {error}") from None
        length = setting.get("steps", 0), setting.get("epochs", 0)
        result.append(Stage(setting["name"], part, *length, setting.get("lr", 0.0)))
    return result


def audit(
    build: Callable[[A], nn.Module],
    space: RestrictableSpace[A],
    training: Iterable[Stage[A]],
    required: Mapping[str, A] | None = None,
    *,
    input_shape: Callable[[A], tuple[int, ...]] = image_batch,
    unaligned: Sequence[str] = (),
) -> int:
    """Prove before training that every weight will be trained, and that smaller networks use the right ones.

    The architectures that the stages can draw are parts of the largest network that grow with the options, so the largest
    architecture of each stage touches all that the stage can touch; where options have weights for themselves, the largest of
    each option.

    Args:
        build: from an architecture to its network.
        space: the whole space, whose largest network owns the weights.
        training: the stages.
        required: architectures that the space has to contain, by name.
        input_shape: from an architecture to the shape of its input, batch first.
        unaligned: kinds of choices, or patterns of their paths, whose smaller options may meet other weights.

    Returns:
        The number of weights covered, that is, all of the largest network's.

    Raises:
        UserError: naming the first parameter that no stage would train, the choice that the last stage leaves shut,
            the required architecture that lies outside, with the reason, or the module of a smaller network that the
            largest one lacks, or in which a channel meets other weights than in the largest (looked for in the smallest and
            in some random architectures, see :func:`supernet.sharing.label_audit.check_labels`).
    """
    for name, arch in (required or {}).items():
        reason = space.why_not(arch)
        if reason is not None:
            raise UserError(f"the space does not contain {name}: {reason}")
    training = list(training)
    reachable = {(gene.path, option) for stage in training for gene in stage.space.genes for option in gene.options}
    big = shared_network(partial(meta_network, build), space)
    fixed = {arch for stage in training for arch in largest_of_options(stage.space, big)}
    rng = np.random.default_rng(0)
    for arch in [space.smallest, *(space.sample(rng) for _ in range(SAMPLES))]:
        slices_of(meta_network(build, arch), big)
    touched = {name: torch.zeros(parameter.shape, dtype=torch.bool) for name, parameter in big.named_parameters()}
    for arch in fixed:
        for part in slices_of(meta_network(build, arch), big).values():
            if part.key in touched:
                part.mark(touched[part.key])
    for name, mask in touched.items():
        if not bool(mask.all()):
            missed = int((~mask).sum())
            raise UserError(
                f"{name}: {missed:,} of {mask.numel():,} weights would never be trained, "
                "because no stage of SUPERNET.STAGES draws them; open the largest option there"
            )
    for gene in space.genes:
        never = [option for option in gene.options[:-1] if (gene.path, option) not in reachable]
        if never:
            raise UserError(
                f"{gene.path}: {', '.join(map(str, never))} would be searched but never trained; "
                f"open {gene.kind!r} in a stage of SUPERNET.STAGES, or take it out of the space"
            )
    check_labels(build, space, input_shape, unaligned=unaligned)
    return sum(mask.numel() for mask in touched.values())
