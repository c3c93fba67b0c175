"""Training loop of a supernet or a single network: distillation, accumulation, mixed precision, averaged weights.

A step may be shared by several processes and by several batches of each (gradient accumulation); its gradient is the mean
over all of them. What a step does follows from its number (:mod:`.schedule`), so that a training that is stopped and
started again ends with the weights that it would have ended with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..distributed import SynchronisedBatchNorm, average, average_gradients, world_size
from ..errors import UserError
from .averaging import averaging_decay, update_average
from .depthwise import StripwiseDepthwise
from .saved_state import check_state
from .schedule import Plan, Step

A = TypeVar("A")
Distillation = Literal["inplace", "teacher", "none"]
Network = Callable[[Tensor, Any], Any]


class Criterion(Protocol):
    """Loss of a task, and distillation on its scale."""

    def __call__(self, outputs: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the task, a mean over the images, and its parts for the log."""
        ...

    def distillation(self, outputs: Any, teacher_outputs: Any, batch: Mapping[str, Any]) -> Tensor:
        """How far the outputs are from a teacher's, on the scale of the loss."""
        ...


class NotFiniteError(UserError):
    """The loss is NaN or infinite."""


class Trainer(Generic[A]):
    """Train the weights of a model by an optimiser, step by step; its state can be saved and restored exactly.

    Args:
        network: runs an architecture on images: a supernet, or ``lambda images, _: net(images)``.
        model: the module that owns the weights.
        criterion: the task's loss.
        optimizer: on ``model``'s parameters.
        prepare: puts a batch on the device, with ``batch["inputs"]`` ready for the network.
        distillation: ``inplace``: all architectures of a step are also trained on the first one's outputs (BigNAS, Yu et al.
            2020); ``teacher``: on those of ``teacher``; ``none``.
        distillation_weight: of the distillation beside the task's loss.
        distillation_ramp: steps over which that weight grows from 0, counted from ``distillation_start``.
        distillation_start: the first step that learns from ``teacher``.
        clip: largest norm of the gradient, 0 for none.
        ema: decay of the running average of the weights that is kept beside them, 0 for none.
        ema_gamma: steps over which it rises, see :func:`.averaging.averaging_decay`.
        accumulate: batches of a step in this process.
        share_batch: every architecture of a step reads its own part of each batch; otherwise all read all of it.
        sync_bn: BatchNorm's statistics are those of all processes.
        precision: bfloat16 or float16 for what autocast takes to be safe in it; None for the weights' own type.
        loss_scale: fixed factor on the loss in float16; 0 adapts it to overflows.
        depthwise_strips: differentiate wide depthwise kernels in strips, see :mod:`.depthwise`; CPUs only.
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
        distillation_ramp: int = 0,
        distillation_start: int = 0,
        teacher: nn.Module | None = None,
        clip: float = 0.0,
        ema: float = 0.0,
        ema_gamma: float = 0.0,
        accumulate: int = 1,
        share_batch: bool = False,
        sync_bn: bool = False,
        precision: torch.dtype | None = None,
        loss_scale: float = 0.0,
        depthwise_strips: bool = False,
    ) -> None:
        if distillation == "teacher" and teacher is None:
            raise UserError("distillation from a teacher needs one: set SUPERNET.TEACHER to its checkpoint")
        if share_batch and distillation == "inplace":
            raise UserError(
                "in-place distillation needs architectures that read the same images: share no batch with it"
            )
        self.network, self.model, self.criterion, self.optimizer = network, model, criterion, optimizer
        self.prepare = prepare
        self.distillation, self.weight, self.teacher = distillation, distillation_weight, teacher
        self.ramp, self.start, self.share_batch = distillation_ramp, distillation_start, share_batch
        self.clip, self.ema, self.accumulate, self.sync_bn = clip, ema, accumulate, sync_bn
        self.device, self.depthwise_strips = next(model.parameters()).device.type, depthwise_strips
        self.precision, self.loss_scale, self.ema_gamma = precision, loss_scale, ema_gamma
        self.scaler = torch.amp.GradScaler(
            self.device, init_scale=loss_scale or 2.0**16, enabled=precision is torch.float16
        )
        self.average = {name: tensor.clone() for name, tensor in model.state_dict().items()} if ema else None
        self.done = 0

    def run(
        self,
        plan: Plan[A],
        batches: Iterator[Mapping[str, Any]],
        on_step: Callable[[Step[A], dict[str, float]], bool],
    ) -> None:
        """Train from step ``self.done`` to the end of the plan.

        Args:
            plan: all steps.
            batches: the batches of the steps from ``self.done`` on, ``accumulate`` for each step.
            on_step: called after each step with the loss and its parts; returns False to stop here.

        Raises:
            NotFiniteError: as :meth:`step`.
            UserError: the GPU's memory is full.
        """
        self.model.train()
        for step in plan.steps(self.done):
            if step.first and step.phase.before is not None:
                step.phase.before()
            torch.manual_seed(step.seed)
            with _enough_memory(step, len(step.images) // (self.accumulate * world_size())):
                losses = self.step(step, map(self.prepare, islice(batches, self.accumulate)))
            self.done += 1
            if not on_step(step, losses):
                return

    def step(self, step: Step[A], batches: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """One optimiser step over all architectures of ``step`` and all batches.

        Returns:
            The losses of the first architecture, means over the batches of all processes.

        Raises:
            NotFiniteError: in every process, when a loss of one is not finite; the weights are as before.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = step.lr
        self.optimizer.zero_grad(set_to_none=True)
        figures = []
        for batch in batches:
            names, values = self._passes(step, batch)
            figures.append(values)
        *means, total = average(torch.stack(figures).mean(0)).tolist()
        if not math.isfinite(total):
            raise NotFiniteError(
                f"loss is {total} at step {step.number} ({step.phase.name}): "
                "lower TRAIN.LR or the stage's lr, or set SUPERNET.CLIP_GRADIENT"
            )
        average_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimizer)
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update(self.loss_scale or None)
        self._update_average()
        return dict(zip(names, means, strict=True))

    def _passes(self, step: Step[A], batch: Mapping[str, Any]) -> tuple[list[str], Tensor]:
        """Run every architecture forth and back on one batch.

        Returns:
            Names, and as a tensor: the loss of the first architecture, its parts, and the sum of all losses, which has no
            name.
        """
        target, teacher = None, self.teacher if self.distillation == "teacher" and step.number >= self.start else None
        weight = self.weight * min(1.0, (step.number - self.start + 1) / self.ramp) if self.ramp else self.weight
        names: list[str] = []
        figures: list[Tensor] = []
        total = torch.zeros((), device=batch["inputs"].device)
        archs = list(dict.fromkeys((*step.architectures, *self._chosen(step, batch))))
        for arch, part, share in self._shares(archs, batch):
            if teacher is not None and (target is None or self.share_batch):
                with torch.no_grad(), self._numbers():
                    target = teacher(part["inputs"])
            with self._statistics(), self._numbers(), self._kernels():
                outputs = self.network(part["inputs"], arch)
            loss, parts = self.criterion(outputs, part)
            if not names:
                names, figures = ["loss", *parts], [loss, *parts.values()]
            if target is not None:
                loss = loss + weight * self.criterion.distillation(outputs, target, part)
            loss = loss * share
            total = total + loss.detach()
            self.scaler.scale(loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
            if self.distillation == "inplace" and target is None:
                target = outputs.detach() if isinstance(outputs, Tensor) else [output.detach() for output in outputs]
        return names, torch.stack([figure.detach().to(total) for figure in (*figures, total)])

    def _shares(self, archs: list[A], batch: Mapping[str, Any]) -> Iterator[tuple[A, Mapping[str, Any], float]]:
        """Every architecture with what it reads of the batch, and the factor on its loss."""
        if not self.share_batch:
            yield from ((arch, batch, 1.0) for arch in archs)
            return
        images = len(batch["inputs"])
        if images < len(archs):
            raise UserError(
                f"{len(archs)} architectures cannot share a batch of {images} images: raise TRAIN.IMAGES_PER_GPU"
            )
        ends = [images * number // len(archs) for number in range(len(archs) + 1)]
        for arch, first, end in zip(archs, ends, ends[1:], strict=False):
            yield arch, _images_of(batch, first, end), (end - first) / images

    @torch.no_grad()
    def _chosen(self, step: Step[A], batch: Mapping[str, Any]) -> list[A]:
        """Choose an architecture of each group of candidates by its loss on this batch of this process."""

        def loss(arch: A) -> float:
            with self._numbers():
                outputs = self.network(batch["inputs"], arch)
            return float(self.criterion(outputs, batch)[0])

        return step.phase.sampler.choose(step.candidate_groups, loss)

    def _numbers(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, self.precision) if self.precision else nullcontext()

    def _statistics(self) -> AbstractContextManager[Any]:
        return SynchronisedBatchNorm() if self.sync_bn else nullcontext()

    def _kernels(self) -> AbstractContextManager[Any]:
        return StripwiseDepthwise() if self.depthwise_strips and self.device == "cpu" else nullcontext()

    def _update_average(self) -> None:
        if self.average is not None:
            decay = averaging_decay(self.ema, self.done, self.ema_gamma)
            update_average(self.average, self.model.state_dict(), decay)

    def reset_optimizer(self) -> None:
        """Reset the optimiser's state and the averaged weights, after the weights were changed from outside."""
        self.optimizer.state.clear()
        if self.average is not None:
            self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the running average where there is one."""
        return self.average if self.average is not None else dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """State to restore by ``load_state_dict``, so that the training goes on exactly."""
        return {
            "done": self.done,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state; one that is not of such a training is refused (UserError), and nothing is changed."""
        check_state(state, self.model.state_dict(), self.average, self.optimizer, self.scaler.state_dict())
        self.done = int(state["done"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            for name, tensor in state["average"].items():
                self.average[name].copy_(tensor)


def _images_of(value: Any, first: int, end: int) -> Any:
    """The part of a batch from one image to another: of every tensor, and of all within lists and mappings."""
    if isinstance(value, Tensor):
        return value[first:end]
    if isinstance(value, Mapping):
        return {name: _images_of(item, first, end) for name, item in value.items()}
    if isinstance(value, (list, tuple)) and all(isinstance(item, Tensor) for item in value):
        return [_images_of(item, first, end) for item in value]
    return value


@contextmanager
def _enough_memory(step: Step[Any], images: int) -> Iterator[None]:
    """Say what was run when the GPU's memory is full, and what helps; also where a batch's copy or the optimiser filled it."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        height, width = step.input_hw
        raise UserError(
            f"the GPU's memory is full at step {step.number} ({step.phase.name}) with {images} images of "
            f"{width} x {height}: lower TRAIN.IMAGES_PER_GPU and raise TRAIN.ACCUMULATE alike, or set FP16.ENABLED true"
        ) from None
