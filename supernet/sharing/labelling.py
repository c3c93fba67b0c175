"""Run a module on labels: a copy of it on the meta device, or on the CPU where its own code needs values."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .label_operations import watch
from .labels import FIXED, Labels, tensors_in


def label(module: nn.Module, inputs: Sequence[Any], modes: Iterable[bool] = (False, True)) -> Labels:
    """Run a module on an example and find which of its channels belong together.

    The module is not changed and its weights do not matter: a copy on the meta device is run, or, where that fails, such as
    for indices that are computed, one on the CPU.

    Args:
        module: any module.
        inputs: its positional arguments; tensors of at least two examples if it is run in training mode.
        modes: the modes that it is run in: False evaluation, True training.

    Raises:
        UserError: when the module cannot be copied or run on the example, with its reason.
    """
    modes = tuple(modes)
    without_values = any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))
    try:
        return _run(on_device(module, "meta"), moved(inputs, "meta"), modes)
    except Exception as error:  # the module's own code, which may raise anything, also where there are no values
        failed = error
    if not without_values:
        try:
            labels = _run(on_device(module, "cpu"), moved(inputs, "cpu"), modes)
            labels.device = "cpu"
            return labels
        except Exception as error:
            failed = error
    reason = (str(failed) or type(failed).__name__).splitlines()[0]
    raise UserError(
        f"{type(module).__name__} does not run on the example: {type(failed).__name__}: {reason}"
    ) from failed


def _run(module: nn.Module, inputs: tuple[Any, ...], modes: tuple[bool, ...]) -> Labels:
    labels = Labels(module)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it would hide a whole layer in one operation
    try:
        with _named_calls(module, labels), torch.no_grad(), torch.random.fork_rng(devices=[]):
            for mode in modes:
                module.train(mode)
                for tensor in tensors_in(list(inputs)):
                    labels.put(tensor, torch.full((1,) * tensor.dim(), FIXED))
                with watch(labels):
                    outputs = module(*inputs)
                labels.fix(*tensors_in(outputs))
                labels.outputs[mode] = [tensor.shape for tensor in tensors_in(outputs)]
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    labels.close()
    return labels


@contextmanager
def _named_calls(module: nn.Module, labels: Labels) -> Iterator[None]:
    """Keep the stack of the modules that run, and find those that may be left out."""

    def begin(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            labels.stack.append((name, [id(value) for value in args if isinstance(value, Tensor)]))
            if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
                labels.refused.add(name)

        return hook

    def end(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            labels.stack.pop()
            if not (isinstance(output, Tensor) and args and getattr(args[0], "shape", None) == output.shape):
                labels.refused.add(name)

        return hook

    hooks = []
    for name, one in module.named_modules():
        hooks.append(one.register_forward_pre_hook(begin(name), with_kwargs=True))
        hooks.append(one.register_forward_hook(end(name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def on_device(module: nn.Module, device: str) -> nn.Module:
    """A copy of a module whose parameters and buffers are on a device; copying to ``meta`` moves no values.

    Raises:
        UserError: when the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for own in module.parameters():
        moved_to = own.detach().to(device, copy=True)
        memo[id(own)] = nn.Parameter(moved_to, own.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to(device, copy=True)
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{type(module).__name__} cannot be copied: {reason}") from error


def moved(inputs: Sequence[Any], device: str) -> tuple[Any, ...]:
    """Arguments with their tensors on a device, meta tensors as zeros."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.is_meta and device != "meta":
                return torch.zeros(value.shape, dtype=value.dtype, device=device)
            return value.detach().to(device, copy=True)
        if isinstance(value, list | tuple):
            return type(value)(move(item) for item in value)
        return {key: move(item) for key, item in value.items()} if isinstance(value, dict) else value

    return tuple(move(value) for value in inputs)
