"""Quantise ONNX files to 8 bits after training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from ..io.files import replacing
from .onnx_file import INPUT, check_installed, quiet

_LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


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

    with replacing(target) as temporary, quiet():
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
