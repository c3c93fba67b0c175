"""Parameters and multiply-accumulates: of every network of the papers in one unit, or of one architecture, layer by layer.

MACs are those really executed: convolutions at their output positions, transposed ones at their input positions, linear
layers; a layer that runs twice counts twice. Memory is what activations of one image need at their peak in float32, 10^6
bytes. Beside a published figure stands ours counted as that paper counted, in 10^9.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from search_spaces import FAMILIES

from ..cost.conventions import CONVENTIONS
from ..cost.macs import count, operations
from ..cost.peak_memory import peak_memory
from ..io.files import write_atomically
from ..pipeline.progress import Progress
from ..pipeline.run import Run
from ..report.markdown import markdown_table
from ..sharing.meta import meta_network
from .command import add_cfg, bare_parser, run_of, run_program

EXAMPLES = """  python tools/profile.py --published
  python tools/profile.py --published --csv table.csv --markdown table.md
  python tools/profile.py --cfg experiments/crowd_pose/litepose.yaml --superconfig litepose-XS --layers"""


def published_table() -> pd.DataFrame:
    """One row per published network."""
    rows = []
    entries = [
        (name, family, entry)
        for family in FAMILIES.values()
        for name, entry in (family.PUBLISHED | getattr(family, "REBUILT", {})).items()
    ]
    with Progress("counting", len(entries)) as progress:
        for done, (name, family, entry) in enumerate(entries, 1):
            network = meta_network(partial(family.build, joints=entry.joints, **entry.options), entry.arch)
            shape = (1, 3, *entry.arch.input_hw)
            cost = count(network, shape)
            row = {
                "network": name,
                "input": "×".join(map(str, entry.arch.input_hw)),
                "params": cost.params,
                "macs": cost.macs,
            }
            if entry.gmacs is not None:
                counted = CONVENTIONS[entry.convention](operations(network, shape))
                row |= {
                    "published": entry.gmacs,
                    "counted_alike": round(counted, 4),
                    "ratio": round(counted / entry.gmacs, 4),
                    "convention": entry.convention,
                    "note": entry.irreproducible,
                }
            rows.append(row)
            progress.to(done)
    return pd.DataFrame(rows)


def layer_table(run: Run, superconfig: str, layers: bool) -> pd.DataFrame:
    """Of one architecture: its total with the peak activation memory, and with ``layers`` every layer that multiplies."""
    arch = run.architecture(superconfig)
    network = meta_network(run.build, arch)
    cost = count(network, (1, 3, *arch.input_hw))
    parameters = {name: parameter.numel() for name, parameter in network.named_parameters()}
    rows = []
    if layers:
        for name, macs in cost.per_layer.items():
            own = sum(parameters.get(f"{name}.{kind}", 0) for kind in ("weight", "bias"))
            rows.append({"layer": name, "params": own, "macs": macs})
    peak_mb = round(peak_memory(network, (1, 3, *arch.input_hw)) / 1e6, 3)
    rows.append({"layer": "total", "params": cost.params, "macs": cost.macs, "peak_memory_mb": peak_mb})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, count, print and write the table."""
    command = bare_parser(__doc__, EXAMPLES)
    command.add_argument("--published", action="store_true", help="every network of the papers")
    add_cfg(command, required=False)
    command.add_argument("--superconfig", metavar="ARCH", help="architecture: a JSON file, or a published name")
    command.add_argument("--layers", action="store_true", help="every layer too")
    command.add_argument("--csv", type=Path, help="write the table as CSV")
    command.add_argument("--markdown", type=Path, help="write the table as Markdown")
    options = command.parse_args(arguments)
    if options.published == bool(options.cfg and options.superconfig):
        command.error("give either --published, or --cfg and --superconfig")
    if options.published:
        table = published_table()
    else:
        run = run_of(options)
        table = layer_table(run, options.superconfig, options.layers)
    text = markdown_table(table)
    print(text)
    if options.csv:
        write_atomically(options.csv, table.to_csv(index=False))
    if options.markdown:
        write_atomically(options.markdown, text + "\n")


def program() -> None:
    """``python tools/profile.py``."""
    run_program(main)
