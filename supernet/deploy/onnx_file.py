"""Export networks to ONNX, and run ONNX files as modules.

The file says in its metadata what it was exported with, so that a program needs nothing beside it to run it.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..io.files import write_atomically
from ..io.reading import opened

SUFFIX = ".onnx"
INPUT = "images"
MULTIPLE = 32  # pixels: what height and width have to be a multiple of where they are left open
DYNAMIC = ("batch", "size")  # size leaves open the batch as well
LARGEST = 2**31  # bytes of a file, the format's own limit
SECONDS, SECONDS_PER_IMAGE = 60.0, 10.0  # that one run may take; a starved machine needs a few for a large image


def check_installed() -> None:
    """Check that the packages of the extra ``export`` are installed.

    Raises:
        UserError: one is missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX files need {', '.join(missing)}: run `pip install pose-supernet[export]`")


def session(source: Path | bytes, threads: int, device: str = "cpu") -> Any:
    """Open an onnxruntime session of a file or of its content, on so many threads of the CPU or on ``cuda``.

    Raises:
        UserError: onnxruntime is missing or cannot run on the device.
    """
    check_installed()
    import onnxruntime

    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise UserError(f"onnxruntime has no {provider} here: run `pip install onnxruntime-gpu`, or set DEVICE cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        source if isinstance(source, bytes) else str(source), options, providers=[provider]
    )


def model_of(network: nn.Module, images: Tensor, **options: Any) -> Any:
    """Export a network as an ONNX model in memory, without the warnings of the exporter's own libraries.

    Args:
        network: in evaluation mode.
        images: an example (B, 3, H, W).
        options: of ``torch.onnx.export``.
    """
    check_installed()
    with quiet():
        program: Any = torch.onnx.export(network, (images,), dynamo=True, verbose=False, **options)
    return program.model_proto


def write_onnx(
    network: nn.Module,
    images: Tensor,
    path: Path | str,
    outputs: Sequence[str] = ("output",),
    facts: Mapping[str, str] | None = None,
    dynamic: str = "",
) -> int:
    """Export a network to an ONNX file; returns the version of ONNX's operators.

    Args:
        network: in evaluation mode, with one output tensor for each name of ``outputs``.
        images: an example (B, 3, H, W); its shape is the only one that the network takes, but for what is ``dynamic``.
        path: the file.
        outputs: names.
        facts: what :attr:`OnnxNetwork.facts` will say.
        dynamic: "", or one of DYNAMIC; with ``size``, height and width may be any multiple of MULTIPLE.

    Raises:
        UserError: the network cannot be exported so, or is in training mode, or a package is missing.
    """
    check_installed()
    if network.training:
        raise UserError(f"{path}: the network is in training mode, and would be exported so; call its eval() before")
    if dynamic not in ("", *DYNAMIC):
        raise UserError(f"{path}: dynamic is {dynamic!r}; write one of {', '.join(DYNAMIC)}, or '' for a fixed shape")
    shapes: Any = None
    if dynamic:
        images = images[:1].repeat(2, 1, 1, 1)  # of a batch of 1 the exporter would conclude that there is no other
        batch: dict[int, Any] = {0: torch.export.Dim("batch")}
        sides = {2: MULTIPLE * torch.export.Dim("rows"), 3: MULTIPLE * torch.export.Dim("columns")}
        shapes = (batch | sides if dynamic == "size" else batch,)
    try:
        model = model_of(network, images, input_names=[INPUT], output_names=list(outputs), dynamic_shapes=shapes)
    except Exception as error:  # noqa: BLE001  # the exporter's own errors have no common class
        remedy = "leave less open with --dynamic" if dynamic else "report this with the architecture"
        raise UserError(f"{path}: cannot be exported ({_reason(error)}); {remedy}") from error
    for key, value in (facts or {}).items():
        model.metadata_props.add(key=key, value=value)
    write_atomically(Path(path), model.SerializeToString())
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


class OnnxNetwork(nn.Module):
    """Module that runs an ONNX file: images (B, 3, H, W) in, a tensor or the list of outputs out, as the exported network.

    Where the file takes one number of images only, a batch is cut into such parts.

    Attributes:
        facts: what the file's metadata say.
        shape: of the input; None where it is open.

    Raises:
        UserError: the file is no such network, or onnxruntime is missing or cannot run on the device.
    """

    def __init__(self, path: Path, threads: int = 0, device: str = "cpu", seconds: float = SECONDS) -> None:
        """Read a file to run it with ``threads`` of the CPU (0: as many as PyTorch) or on ``device`` cuda.

        A run of one batch that takes longer than ``seconds``, and as many more as SECONDS_PER_IMAGE says, is ended.
        """
        super().__init__()
        if not path.is_file():
            raise UserError(f"{path}: no such file; write it with tools/export.py")
        try:
            with opened(path, LARGEST):
                self._session = session(path, threads or torch.get_num_threads(), device)
            images = _image_input(self._session)
            self.facts: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}; write it with tools/export.py") from error
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  # onnxruntime's errors have no common class
            reason = str(error) if isinstance(error, ValueError) else "damaged, or of another kind"
            raise UserError(f"{path}: is not an exported network ({reason}); write it with tools/export.py") from error
        self._path, self._seconds = path, seconds
        self.shape = tuple(side if isinstance(side, int) else None for side in images.shape)
        self._input = images.name
        self._several = self.facts.get("several") == "true" or len(self._session.get_outputs()) > 1

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Run the network.

        Raises:
            UserError: the images are of another size than the file takes.
        """
        size, taken = tuple(images.shape[1:]), self.shape[1:]
        if any(wanted not in (None, side) for wanted, side in zip(taken, size, strict=False)):
            raise UserError(
                f"{self._path}: takes images of {taken[1]} x {taken[2]}, this one is {size[1]} x {size[2]}; "
                "export it with --dynamic size"
            )
        batch = images.float().contiguous().cpu().numpy()
        part = self.shape[0] or max(1, len(batch))
        found = [self._run(batch[first : first + part], part) for first in range(0, len(batch), part)]
        joined = [torch.from_numpy(np.concatenate(each)).to(images.device) for each in zip(*found, strict=True)]
        return joined if self._several else joined[0]

    def _run(self, batch: Any, size: int) -> list[Any]:
        """The outputs of at most ``size`` images, filled up to that number."""
        count = len(batch)
        if count < size:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        outputs = self._within_time({self._input: batch})
        if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" and len(each) >= count for each in outputs):
            raise UserError(
                f"{self._path}: does not answer with an array of numbers for each image; write it with tools/export.py"
            )
        return [output[:count] for output in outputs]

    def _within_time(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run the session, and end it where it takes too long: a file may hold a loop without end."""
        import onnxruntime

        options, images = onnxruntime.RunOptions(), len(next(iter(inputs.values())))
        late = threading.Event()

        def end() -> None:
            late.set()
            options.terminate = True

        limit = self._seconds + SECONDS_PER_IMAGE * images
        timer = threading.Timer(limit, end)
        timer.daemon = True
        timer.start()
        try:
            outputs: list[Any] = self._session.run(None, inputs, options)
        except Exception as error:  # onnxruntime's errors have no common class
            if late.is_set():
                raise UserError(
                    f"{self._path}: has not ended after {limit:g} s; write it with tools/export.py"
                ) from None
            raise UserError(
                f"{self._path}: cannot run on images of this size ({_reason(error)}); write it with tools/export.py"
            ) from error
        finally:
            timer.cancel()
        return outputs


def _image_input(session: Any) -> Any:
    """The one input of a session if it takes images.

    Raises:
        UserError: it takes something else.
    """
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else None
    sides = [side if isinstance(side, int) else None for side in shape or ()]
    if len(sides) != 4 or sides[1] not in (3, None) or any(side is not None and side < 1 for side in sides):
        raise ValueError("the input is no batch of images")
    if inputs[0].type != "tensor(float)":
        raise ValueError("the input is not of float32")
    return inputs[0]


def _reason(error: BaseException) -> str:
    """The first line of what went wrong at the bottom of an exporter's error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip()[:160] for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and logs of the exporter's own libraries."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
