"""The training loop, for a supernet and for a single network alike.

Everything random in step ``s`` comes from a generator seeded with (seed, s), and the order of the images from one seeded with
(seed, epoch): a training that is stopped and started again draws what it would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from .errors import UserError
from .sampling import Sampler

A = TypeVar("A")
Distillation = Literal["inplace", "teacher", "none"]
Network = Callable[[Tensor, Any], Any]


class Criterion(Protocol):
    """What the task says about outputs."""

    def __call__(self, outputs: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the task, and its parts for the log."""
        ...

    def distillation(self, outputs: Any, teacher_outputs: Any, batch: Mapping[str, Any]) -> Tensor:
        """How far the outputs are from a teacher's, on the scale of the loss."""
        ...


@dataclass(frozen=True)
class Phase(Generic[A]):
    """A number of steps with one sampler and one learning-rate curve."""

    name: str
    sampler: Sampler[A]
    steps: int
    lr: Callable[[float], float]  # progress within the phase, 0 to 1 -> learning rate
    before: Callable[[], None] | None = None  # run once, before the first step


@dataclass(frozen=True)
class Step(Generic[A]):
    """What one step does, known before any data is read."""

    number: int
    phase: Phase[A]
    architectures: tuple[A, ...]
    input_hw: tuple[int, int]
    images: tuple[int, ...]  # positions in the training set
    lr: float
    first: bool  # of its phase


def cosine(lr: float, warmup: float = 0.05, final: float = 0.01) -> Callable[[float], float]:
    """Linear warm-up, then half a cosine down to ``final`` × ``lr``."""

    def curve(progress: float) -> float:
        if progress < warmup:
            return lr * max(progress / warmup, 0.01)
        return lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))))

    return curve


def multi_step(lr: float, milestones: Sequence[float], factor: float = 0.1) -> Callable[[float], float]:
    """``lr`` times ``factor`` for every milestone (as progress, 0 to 1) that has passed."""
    return lambda progress: lr * factor ** sum(progress >= milestone for milestone in milestones)


@dataclass
class Plan(Generic[A]):
    """The steps of a training, each computed from its number alone."""

    phases: Sequence[Phase[A]]
    images: int
    batch: int
    seed: int
    _order: tuple[int, Any] = field(default=(-1, None), repr=False)

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError("the training split is empty; check DATASET.TRAIN and DATASET.SEARCH_IMAGES")

    def __len__(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def step(self, number: int) -> Step[A]:
        """Step ``number``, counted from 0 over all phases."""
        first = 0
        for phase in self.phases:
            if number < first + phase.steps:
                break
            first += phase.steps
        else:
            raise IndexError(f"step {number} of {len(self)}")
        architectures = tuple(phase.sampler.draw(np.random.default_rng([self.seed, 0, number])))
        positions = range(number * self.batch, (number + 1) * self.batch)
        return Step(
            number,
            phase,
            architectures,
            architectures[0].input_hw,  # type: ignore[attr-defined]
            tuple(self._image(position) for position in positions),
            phase.lr((number - first) / phase.steps),
            number == first,
        )

    def steps(self, start: int) -> Iterator[Step[A]]:
        """All steps from ``start`` on."""
        return (self.step(number) for number in range(start, len(self)))

    def _image(self, position: int) -> int:
        epoch, index = divmod(position, self.images)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, 1, epoch]).permutation(self.images)
        return int(self._order[1][index])


class NotFiniteError(UserError):
    """The loss is NaN or infinite."""


class Trainer(Generic[A]):
    """Weights, optimiser and what goes on with them.

    Args:
        network: runs an architecture on images: a supernet, or ``lambda images, _: net(images)``.
        model: the module that owns the weights.
        criterion: the task's loss.
        optimizer: on ``model``'s parameters.
        prepare: puts a batch on the device, with ``batch["inputs"]`` ready for the network.
        distillation: ``inplace``: every architecture of a step also learns the first one's outputs (BigNAS, Yu et al. 2020);
            ``teacher``: those of ``teacher``; ``none``.
        distillation_weight: of the distillation beside the task's loss.
        clip: largest norm of the gradient, 0 for none.
        ema: decay of the running average of the weights that is kept beside them, 0 for none.
    """

    def __init__(
        self,
        network: Network,
        model: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        distillation: Distillation = "none",
        distillation_weight: float = 1.0,
        teacher: nn.Module | None = None,
        clip: float = 0.0,
        ema: float = 0.0,
    ) -> None:
        if distillation == "teacher" and teacher is None:
            raise UserError("distillation from a teacher needs one: set SUPERNET.TEACHER to its checkpoint")
        self.network, self.model, self.criterion, self.optimizer = network, model, criterion, optimizer
        self.prepare = prepare
        self.distillation, self.weight, self.teacher = distillation, distillation_weight, teacher
        self.clip, self.ema = clip, ema
        self.average = {name: tensor.clone() for name, tensor in model.state_dict().items()} if ema else None
        self.done = 0

    def run(
        self,
        plan: Plan[A],
        batches: Iterable[Mapping[str, Any]],
        on_step: Callable[[Step[A], dict[str, float]], bool],
    ) -> None:
        """Train from step ``self.done`` to the end of the plan.

        Args:
            plan: all steps.
            batches: the batches of the steps from ``self.done`` on.
            on_step: called after each step with the loss and its parts; returns False to stop here.
        """
        self.model.train()
        for step, batch in zip(plan.steps(self.done), batches, strict=True):
            if step.first and step.phase.before is not None:
                step.phase.before()
            losses = self.step(step, self.prepare(batch))
            self.done += 1
            if not on_step(step, losses):
                return

    def step(self, step: Step[A], batch: Mapping[str, Any]) -> dict[str, float]:
        """One optimiser step over all architectures of ``step``; returns the losses of the first one."""
        for group in self.optimizer.param_groups:
            group["lr"] = step.lr
        self.optimizer.zero_grad(set_to_none=True)
        target = None
        if self.distillation == "teacher" and self.teacher is not None:
            with torch.no_grad():
                target = self.teacher(batch["inputs"])
        report: dict[str, float] = {}
        for arch in step.architectures:
            outputs = self.network(batch["inputs"], arch)
            loss, parts = self.criterion(outputs, batch)
            if not report:
                report = {"loss": float(loss.detach()), **{name: float(value) for name, value in parts.items()}}
            if target is not None:
                loss = loss + self.weight * self.criterion.distillation(outputs, target, batch)
            if not bool(torch.isfinite(loss)):
                raise NotFiniteError(
                    f"loss is {float(loss.detach())} at step {step.number} ({step.phase.name}): "
                    "lower TRAIN.LR or the stage's lr, or set SUPERNET.CLIP_GRADIENT"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            if self.distillation == "inplace" and target is None:
                target = outputs.detach() if isinstance(outputs, Tensor) else [output.detach() for output in outputs]
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        self._update_average()
        return report

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None:
            return
        decay = min(self.ema, (1 + self.done) / (10 + self.done))
        for name, tensor in self.model.state_dict().items():
            if tensor.dtype.is_floating_point:
                self.average[name].lerp_(tensor, 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def forget(self) -> None:
        """Drop the optimiser's and the average's memory of the weights, after they were changed from outside."""
        self.optimizer.state.clear()
        if self.average is not None:
            self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the running average where there is one."""
        return self.average if self.average is not None else dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Everything that ``load_state_dict`` needs to go on exactly."""
        return {
            "done": self.done,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.done = int(state["done"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None and state["average"] is not None:
            for name, tensor in state["average"].items():
                self.average[name].copy_(tensor)
