"""Export networks to ONNX, run ONNX files as modules, and quantise them to 8 bits after training.

The file says in its metadata what it was exported with, so that a program needs nothing beside it to run it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..io.files import replacing, write_atomically

SUFFIX = ".onnx"
INPUT = "images"
MULTIPLE = 32  # pixels: what height and width have to be a multiple of where they are left open
DYNAMIC = ("batch", "size")  # size leaves open the batch as well
_LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


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
    with _quiet():
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

    def __init__(self, path: Path, threads: int = 0, device: str = "cpu") -> None:
        """Read a file to run it with ``threads`` of the CPU (0: as many as PyTorch) or on ``device`` cuda."""
        super().__init__()
        if not path.is_file():
            raise UserError(f"{path}: no such file; write it with tools/export.py")
        try:
            self._session = session(path, threads or torch.get_num_threads(), device)
            (images,) = self._session.get_inputs()
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  # onnxruntime's errors have no common class
            raise UserError(
                f"{path}: is not an exported network, or is damaged; write it with tools/export.py"
            ) from error
        self._path = path
        self.facts: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.shape = tuple(side if isinstance(side, int) else None for side in images.shape)
        self._input = images.name
        self._several = self.facts.get("several") == "true" or len(self._session.get_outputs()) > 1

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Run the network.

        Raises:
            UserError: the images are of another size than the file takes.
        """
        size, taken = tuple(images.shape[1:]), self.shape[1:]
        if any(wanted not in (None, side) for wanted, side in zip(taken, size, strict=True)):
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
        return [output[:count] for output in self._session.run(None, {self._input: batch})]


def quantise(source: Path, target: Path, batches: Iterable[Tensor]) -> None:
    """Quantise an exported network to 8-bit weights and activations, whose ranges are those met on ``batches``.

    Weights are symmetric and have a scale for each output channel, activations have a zero point (Jacob et al., CVPR 2018,
    and Krishnamoorthi, arXiv 1806.08342). The last layers, which make the maps, stay in float32: their positions hang on
    small differences.

    Args:
        source: written by :func:`write_onnx`.
        target: the file; it keeps the facts of the source.
        batches: images (B, 3, H, W) as the network will see them.
    """
    check_installed()
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            images = next(self._batches, None)
            return None if images is None else {INPUT: images.float().cpu().numpy()}

    with replacing(target) as temporary, _quiet():
        quant_pre_process(str(source), str(temporary), skip_symbolic_shape=True)
        prepared = onnx.load(temporary)
        quantize_static(
            prepared,
            str(temporary),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_last_layers(prepared.graph),
        )
        written = onnx.load(temporary)
        del written.metadata_props[:]
        written.metadata_props.extend(onnx.load(source, load_external_data=False).metadata_props)
        temporary.write_bytes(written.SerializeToString())


def _last_layers(graph: Any) -> list[str]:
    """The names of the layers that make the outputs, and of what is done with what they make."""
    maker = {output: node for node in graph.node for output in node.output}
    pending, found = [output.name for output in graph.output], set()
    while pending:
        node = maker.get(pending.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            pending += [] if node.op_type in _LAYERS else node.input
    return sorted(found)


def _reason(error: BaseException) -> str:
    """The first line of what went wrong at the bottom of an exporter's error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip()[:160] for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
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
