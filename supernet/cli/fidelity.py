"""Can the supernet's ranking be believed? Its scores against those of the same networks, each trained stand-alone.

Without --supernet only the table of stand-alone trainings is made (or goes on). With --table that step is left out, and
any supernet of the space is evaluated by a table that is there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..errors import UserError
from ..io.files import sha256, write_atomically
from ..io.lock import locked
from ..pipeline import inputs
from ..pipeline.candidates import subnet
from ..pipeline.check import check_data
from ..pipeline.keys import provenance
from ..pipeline.progress import Progress, say
from ..pipeline.run import Run
from ..pipeline.scoring import measure_on
from ..pipeline.standalone import standalone_table
from ..pipeline.subnets import compare as compare_subnet
from ..pipeline.train import load_supernet
from ..report import write_csv
from ..report.markdown import bullets, environment, markdown_table
from ..search.journal import Journal
from ..search.ranking import SeedNoise, correlations, mean_over_seeds, read_standalone, seed_noise
from ..search.zero_cost import synflow
from .command import next_command, parser, run_of, run_program, whole

EXAMPLES = """  python tools/fidelity.py --cfg experiments/synthetic/litepose.yaml --workers 2 FIDELITY.EPOCHS 6
  python tools/fidelity.py --cfg experiments/synthetic/litepose.yaml --table experiments/synthetic/standalone.csv \\
      --supernet output/synthetic/litepose/supernet/weights.pt"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument("--supernet", type=Path, metavar="FILE", help="weights of the supernet to evaluate")
    command.add_argument("--table", type=Path, metavar="FILE", help="CSV of stand-alone trainings, to be used as it is")
    command.add_argument(
        "--retrain",
        action="store_true",
        help="also retrain each architecture from the supernet's weights, as search.py does",
    )
    command.add_argument(
        "--workers", type=whole(0, 512), default=1, help="processes that train, of one thread each (default 1)"
    )
    options = command.parse_args(arguments)
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: at least one process has to train; to train none, give --table")
    run = run_of(options)
    folder = run.paths.fidelity
    digest = sha256(options.supernet) if options.supernet else ""  # a wrong name is told before hours of training
    if options.table is None or options.supernet is not None:
        check_data(run)
    with locked(folder):
        table = options.table or standalone_table(run, folder, options.workers)
    if options.supernet is None:
        say(
            f"{table}\nnext: {next_command(run, 'fidelity', '--table', table, '--supernet', run.paths.supernet_weights)}"
        )
        return
    compare(run, folder / digest[:12], read_standalone(table), options.supernet, str(table), retrain=options.retrain)


def compare(
    run: Run, folder: Path, trainings: pd.DataFrame, source: Path, table_name: str, *, retrain: bool = False
) -> pd.DataFrame:
    """Score the table's architectures in the supernet; writes scores.csv, correlations.csv, report.md; prints the report.

    With ``retrain`` each is also retrained from the supernet's weights by the node RETRAIN, and the supernet's score is
    held against what that comes to: the rank that a search's user gets.
    """
    table = mean_over_seeds(trainings)
    table = _supernet_scores(run, folder, table, source)
    table["synflow"] = [_synflow(run, text) for text in table.arch]
    found, band_count = [], len(run.cfg.FIDELITY.BUDGETS) or run.cfg.FIDELITY.BANDS
    sign = run.data.search_score.sign
    for split in ("test", "search"):
        predictors = {
            "supernet": sign * table.supernet,
            "MACs": table.macs,
            "parameters": table.params,
            "SynFlow": table.synflow,
        }
        if split == "test":  # what it costs to evaluate on other images: with the supernet, and with no supernet in it
            predictors |= {"supernet, same images": sign * table.supernet_test, "alone, search split": table.search}
        part = correlations(table[split], predictors, table.macs, baseline="MACs", band_count=band_count)
        part.insert(0, "evaluated on", split)
        found.append(part)
    if retrain:
        table["retrained"] = _retrained(run, folder, table, source)
        predictors = {"supernet": sign * table.supernet, "MACs": table.macs, "alone": table.test}
        part = correlations(table.retrained, predictors, table.macs, baseline="MACs", band_count=band_count)
        part.insert(0, "evaluated on", "test, retrained")
        found.append(part)
    result = pd.concat(found, ignore_index=True)
    write_csv(folder / "scores.csv", table)
    write_csv(folder / "correlations.csv", result)
    text = _report(
        run, table, result, table_name, source, seed_noise(trainings, band_count if run.cfg.FIDELITY.BUDGETS else 1)
    )
    write_atomically(folder / "report.md", text)
    say(f"{text}\n{folder}")
    return result


def _retrained(run: Run, folder: Path, table: pd.DataFrame, source: Path) -> list[float]:
    """Score on the reported split of each architecture, extracted, calibrated and retrained; what was stopped goes on."""
    cfg = run.cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder / "retrained")
    cfg.freeze()
    retraining, supernet, scores = Run(cfg, run.source), load_supernet(run, source), []
    for text in table.arch:
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        scores.append(compare_subnet(retraining, name, run.family.from_json(json.loads(text)), supernet, source))
    return [float(row["ap_retrained"]) for row in scores]


def _synflow(run: Run, text: str) -> float:
    """Of an architecture with fresh weights."""
    arch = run.family.from_json(json.loads(text))
    torch.manual_seed(run.cfg.FIDELITY.SEED)
    return synflow(run.build(arch), arch.input_hw)


def _supernet_scores(run: Run, folder: Path, table: pd.DataFrame, source: Path) -> pd.DataFrame:
    """The table with the score of every architecture after calibration, by SEARCH.SCORE; a stopped run goes on.

    ``supernet`` is on the search split, which is what a search sees, and ``supernet_test`` on the reported one.
    """
    archs = [run.family.from_json(json.loads(text)) for text in table.arch]
    for arch in archs:
        reason = run.space.why_not(arch)
        if reason is not None:
            raise UserError(
                f"the table holds an architecture that the space does not: {reason}; give the table's --cfg"
            )
    journal: Journal[object] = Journal(
        folder / "scores.jsonl",
        space=run.space.fingerprint,
        seed=0,
        settings=provenance(inputs.search(run, source)) | provenance(inputs.evaluation(run)),
        to_json=run.family.to_json,
    )
    supernet = load_supernet(run, source)
    splits = {"supernet": measure_on(run, run.search), "supernet_test": measure_on(run, run.test)}

    def evaluate(arch: Any) -> dict[str, float]:
        network = subnet(run, supernet, arch)
        return {name: measure(network, arch)[run.data.search_score.name] for name, measure in splits.items()}

    scores = []
    with Progress("scores in the supernet", len(archs)) as progress:
        for done, (arch, macs) in enumerate(zip(archs, table.macs, strict=True), 1):
            started = time.monotonic()
            record = journal.find(arch) or journal.add(
                arch, algorithm="table", macs=macs, metrics=evaluate(arch), seconds=time.monotonic() - started
            )
            scores.append(record.metrics)
            progress.to(done)
    return table.assign(**{name: [score[name] for score in scores] for name in splits})


def _report(
    run: Run,
    table: pd.DataFrame,
    result: pd.DataFrame,
    table_name: str,
    source: Path,
    by_chance: SeedNoise,
) -> str:
    main_part = result[result["evaluated on"] != "search"]
    name = run.data.search_score.name
    facts = {
        "table": f"{table_name}: {int(table.trainings.sum())} trainings of {len(table)} architectures",
        "supernet": str(source),
        "scores alone (test split)": f"{table.test.min():.3f} to {table.test.max():.3f}",
        "scores in the supernet (search split)": f"{name} {table.supernet.min():.3f} to {table.supernet.max():.3f}",
        **environment(),
    }
    if by_chance.architectures:
        facts["another seed"] = (
            f"Kendall {by_chance.kendall:.2f} over {by_chance.architectures} architectures; one training varies by "
            f"{by_chance.noise:.3f}, so that a perfect ranking would reach about {by_chance.ceiling:.2f} with this table"
        )
    shown = pd.DataFrame(
        {
            "predictor": main_part.predictor,
            "with": main_part["evaluated on"].map({"test": "stand-alone"}).fillna("retrained"),
            "MACs of": main_part.band,
            "n": main_part.architectures,
            **{
                f"{name} (95 %)": [
                    f"{value:.2f} ({low:.2f} to {high:.2f})"
                    for value, low, high in main_part[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
                ]
                for name in ("kendall", "spearman")
            },
        }
    )
    return "\n\n".join(
        [
            f"# Does the supernet rank as training alone does? {run.cfg.SPACE.FAMILY} {run.cfg.SPACE.NAME}",
            bullets(facts),
            f"Rank correlation with {run.score} of each network trained stand-alone, on the reported split. \"supernet\" was "
            "evaluated on the search split, as a search does; \"within bands\" is the mean over the bands of equal MACs; "
            "\"supernet - MACs\" is the supernet's lead over ranking by MACs.",
            markdown_table(shown),
        ]
    ) + "\n"  # fmt: skip


def program() -> None:
    """``python tools/fidelity.py``."""
    run_program(main)
