"""Table of the costs of an architecture; configuration, search and reports take names, units and limits from here.

A further cost is an entry of :data:`COSTS`, and a file of its own where it takes more than a line to compute. Nothing here
imports torch or numpy, because configurations list the keys of all limits.
"""

from __future__ import annotations

from .description import Cost


def macs_label(macs: float) -> str:
    """``312 MMACs`` below a thousand million, ``1.2 GMACs`` from there on."""
    return f"{macs / 1e9:.3g} GMACs" if macs >= 0.9995e9 else f"{macs / 1e6:.3g} MMACs"


#: Every cost by its name; MACs first, which all searches know.
COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost(
            name="macs",
            title="MACs",
            compute=lambda sources: sources.costs.macs,
            limit="MAX_MACS",
            meaning="multiply-accumulates; architectures above it are never evaluated; 0 = no limit",
            whole=True,
            axis="millions of multiply-accumulates",
            axis_unit=1e6,
            text=macs_label,
        ),
        Cost(
            name="params",
            title="Parameters",
            compute=lambda sources: sources.costs.params,
            limit="MAX_PARAMS",
            meaning="parameters; 0 = no limit",
            whole=True,
            axis="thousands of parameters",
            axis_unit=1e3,
            text=lambda params: f"{params / 1e6:.3g} M",
            noun="parameters",
        ),
        Cost(
            name="memory",  # bytes
            title="Peak memory",
            compute=lambda sources: sources.costs.memory,
            limit="MAX_MEMORY_MB",
            meaning="peak activation memory of one image in float32, 10^6 bytes; 0 = no limit",
            limit_unit=1e6,
            axis="megabytes of activations at the peak",
            axis_unit=1e6,
            text=lambda size: f"{size / 1e6:.3g} MB",
        ),
        Cost(
            name="latency_ms",
            title="Latency",
            compute=lambda sources: sources.latency.predict,
            limit="MAX_LATENCY_MS",
            meaning="predicted by LATENCY_TABLE, milliseconds; 0 = no limit",
            axis="milliseconds",
            text=lambda latency_ms: f"{latency_ms:.3g} ms",
        ),
    )
}


def amount(name: str, value: float, beside: float | None = None) -> str:
    """A value of a cost with its unit, and with a noun where the unit does not say which cost it is.

    Args:
        name: of the cost.
        value: in the cost's own unit.
        beside: another value, from which the text has to differ: all digits are written where three would not do.
    """
    cost = COSTS[name]
    if beside not in (None, value) and cost.text(beside) == cost.text(value):
        return f"{value:,.12g} {cost.noun or cost.title}"
    return f"{cost.text(value)} {cost.noun}".rstrip()
