"""Run a network under a runtime: eager PyTorch, torch.compile or onnxruntime.

``eager`` is PyTorch as it is, ``compile`` is ``torch.compile`` (it needs a C++ compiler on the CPU), ``onnxruntime`` runs the
exported network. All take a batch on their device and run without gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .onnx_file import model_of, session

RUNTIMES = ("eager", "compile", "onnxruntime")


def runner(network: nn.Module, images: Tensor, runtime: str, threads: int) -> Callable[[Tensor], Any]:
    """Prepare a network for a runtime of RUNTIMES: a function from a batch like ``images`` (B, 3, H, W) to its output.

    Args:
        network: on the device of ``images``; it is put into evaluation mode.
        images: an example of the batch; its shape is the only one that an exported network takes.
        runtime: ``eager``, ``compile`` or ``onnxruntime``.
        threads: of the CPU. For the first two they are PyTorch's own, for the whole process, from here on.

    Raises:
        UserError: the runtime is not known, not installed, or cannot run here.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"runtime {runtime!r} is not known; there are {', '.join(RUNTIMES)}")
    network.eval()
    if runtime == "onnxruntime":
        return _onnxruntime(network, images, threads)
    torch.set_num_threads(threads)
    call: Any = torch.compile(network) if runtime == "compile" else network

    def run(batch: Tensor) -> Any:
        with torch.inference_mode():
            return call(batch)

    if runtime == "compile":
        try:
            run(images)
        except Exception as error:  # noqa: BLE001  # the compiler's own errors have no common class
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"torch.compile fails here ({reason[:160]}); install a C++ compiler, or use the runtime eager"
            ) from error
    return run


def _onnxruntime(network: nn.Module, images: Tensor, threads: int) -> Callable[[Tensor], Any]:
    content = model_of(network, images).SerializeToString()
    opened = session(content, threads, images.device.type)
    name = opened.get_inputs()[0].name

    def run(batch: Tensor) -> Any:
        return opened.run(None, {name: batch.cpu().numpy()})

    return run
