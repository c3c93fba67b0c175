"""FLOP counting conventions of papers (ptflops, mmcv, torchstat, …): one rule per program, over the same operations.

Published figures are not comparable: some programs count a transposed convolution at its output positions (four times too
much at stride 2), some add normalisation and activations, some count a layer once that runs twice, and some divide by 2^30.
:func:`supernet.cost.macs.count` gives what is really executed; here is what each program would have printed, so that a
published figure can be checked. Sources: ptflops 0.6, mmcv 1.7 ``get_model_complexity_info``, the ``get_model_summary`` of
HRNet and HigherHRNet, torchstat as Lite-HRNet ships it, the DETR-style counter of TransPose, mmengine 0.10
``get_model_complexity_info``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from .macs import Operation

GIGA, GIBI, MEBI = 1e9, 2**30, 2**20


def _product(operation: Operation, *, deconv_at_outputs: bool = False) -> int:
    """Multiply-accumulates of a layer with a weight."""
    if operation.kind == "deconv" and deconv_at_outputs:
        return operation.outputs // operation.weight[1] * prod(operation.weight)
    return operation.macs


def _bias(operation: Operation) -> int:
    """One for each output of a convolution."""
    return operation.outputs if operation.bias and operation.kind in ("conv", "deconv") else 0


def _elementwise(operation: Operation, activations: Sequence[str]) -> int:
    """Two a normalised element, one an activated, pooled (of the input) or resized (of the output) one."""
    if operation.kind == "norm":
        return 2 * operation.outputs
    if operation.kind in activations or operation.kind == "resize":
        return operation.outputs
    return operation.inputs if operation.kind in ("pool", "average") else 0


def _ptflops(operations: Sequence[Operation]) -> float:
    flops = 0
    for o in operations:
        flops += _product(o, deconv_at_outputs=True) + _bias(o) + _elementwise(o, ("relu", "gelu"))
        flops += o.weight[0] if o.kind == "linear" and o.bias else 0
    return flops / GIGA


def _mmcv(operations: Sequence[Operation]) -> float:
    """Without the output projection of attention, which mmcv's attention calls as a function."""
    counted = [o for o in operations if not o.layer.endswith("out_proj")]
    return sum(_product(o) + _bias(o) + _elementwise(o, ("relu",)) for o in counted) / GIGA


def _conv(operations: Sequence[Operation]) -> float:
    return sum(_product(o, deconv_at_outputs=True) for o in operations) / GIGA


def _conv_gibi(operations: Sequence[Operation]) -> float:
    return _conv(operations) * GIGA / GIBI


def _torchstat(operations: Sequence[Operation]) -> float:
    """Each layer once; printed in units of 2^20 below 2^30, which papers read as millions, and of 2^30 above.

    It sees modules only, so pooling and resizing, which these networks do by functions, are not in it.
    """
    once = [o for o in {o.layer: o for o in operations}.values() if o.kind not in ("pool", "average", "resize")]
    flops = sum(_product(o) + _bias(o) + _elementwise(o, ("relu",)) for o in once)
    return flops / MEBI / 1000 if flops < GIBI else flops / GIBI


def _attention(operations: Sequence[Operation]) -> int:
    """Multiply-accumulates of the products of two activations."""
    return sum(o.outputs * o.inner for o in operations if o.kind == "matmul")


def _mmengine(operations: Sequence[Operation]) -> float:
    """Two a normalised element and one an averaged one; without bias, activations, max pooling and scale norm."""
    products = sum(_product(o) for o in operations) + _attention(operations)
    elementwise = sum(2 * o.outputs for o in operations if o.kind == "norm")
    return (products + elementwise + sum(o.inputs for o in operations if o.kind == "average")) / GIGA


def _detr(operations: Sequence[Operation]) -> float:
    """Also the two products of attention, five a softmax element, and what is normalised, rectified and added."""
    softmax = sum(5 * o.outputs for o in operations if o.kind == "softmax")
    elementwise = sum(o.outputs for o in operations if o.kind in ("norm", "relu"))
    return _conv(operations) + (_attention(operations) + softmax + elementwise) / GIGA


#: By the names of ``search_spaces.published.catalogue.Convention``: operations of one image to 10^9, as the papers print it.
CONVENTIONS: dict[str, Callable[[Sequence[Operation]], float]] = {
    "ptflops": _ptflops,
    "conv": _conv,
    "conv_2^30": _conv_gibi,
    "mmcv": _mmcv,
    "torchstat": _torchstat,
    "detr": _detr,
    "mmengine": _mmengine,
}
