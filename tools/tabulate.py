"""Evaluate every architecture of a (restricted) space with a trained supernet, as a table on which searches can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supernet.cli.command import parser, run_of, run_program
from supernet.cli.transfer import supernet_file
from supernet.config.loading import load_config
from supernet.pipeline import inputs
from supernet.pipeline.candidates import scores_of
from supernet.pipeline.keys import provenance
from supernet.pipeline.progress import Progress
from supernet.pipeline.run import Run
from supernet.pipeline.search import score_table
from supernet.pipeline.train import load_supernet
from supernet.report import write_csv
from supernet.search.journal import Journal

EXAMPLES = """  python tools/tabulate.py --cfg experiments/synthetic/litepose.yaml --out table.csv \\
      --keep "{depth: [1], kernel: [3]}" TEST.MODEL_FILE output/synthetic/litepose/supernet/weights.pt"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and evaluate what the journal beside the table does not hold yet."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument("--out", type=Path, default=Path("table.csv"), metavar="FILE", help="the table to write")
    command.add_argument(
        "--keep", default="{}", help="which part of the space to tabulate, as SPACE.RESTRICT is written"
    )
    options = command.parse_args(arguments)
    whole = run_of(options)
    part = Run(load_config(options.cfg, [*options.overrides, "SPACE.RESTRICT", options.keep]), options.cfg)
    source = supernet_file(whole)
    supernet = load_supernet(whole, source)
    journal = Journal(
        options.out.with_suffix(".jsonl"),
        space=part.space.fingerprint,
        seed=0,
        settings=provenance(inputs.search(whole, source)),
        to_json=whole.family.to_json,
    )
    evaluate, codes = scores_of(whole, supernet), part.space.all_codes()
    with Progress("evaluating", len(codes)) as progress:
        for done, (code, macs) in enumerate(zip(codes, part.costs.macs(codes).tolist(), strict=True), 1):
            arch = part.space.decode(code)
            if journal.find(arch) is None:
                journal.add(arch, algorithm="table", macs=macs, metrics=evaluate(arch), seconds=0.0)
            progress.to(done)
    write_csv(options.out, score_table(part, journal.records))
    print(options.out)


if __name__ == "__main__":
    run_program(main)
