"""Which score tells architectures of equal MACs apart? Agreement of each between two halves of the search people.

Around each budget architectures whose MACs differ by at most 2 % are drawn at random, extracted from a trained supernet,
calibrated, and scored on both halves: the loss without augmentation, the dataset's metric, mean OKS and PCK. Printed for each
budget and score: Spearman's correlation of the halves, and what it says of a score by all search people (Spearman and Brown:
2r / (1 + r)), with 95 % intervals by resampling the architectures; the means over the budgets follow. One thread; what was
stopped goes on with the same command.

python -m tools.bench.score_reliability --cfg experiments/synthetic/litepose.yaml
python -m tools.bench.score_reliability --cfg <yaml> --supernet <weights.pt> --budgets 24e6 36e6 --architectures 40
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from supernet.cli.command import run_program
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io.files import sha256
from supernet.pipeline import inputs
from supernet.pipeline.budgets import budgets_of
from supernet.pipeline.candidates import subnet
from supernet.pipeline.keys import provenance
from supernet.pipeline.progress import Progress
from supernet.pipeline.run import Run
from supernet.pipeline.scoring import Loss
from supernet.pipeline.train import load_supernet
from supernet.pose.metrics.people import MEAN_OKS, TORSO_PCK
from supernet.report import write_csv
from supernet.search.journal import Journal
from supernet.search.near import near_macs
from supernet.search.ranking import TAILS, spearman

HALVES = ("first", "second")


def scores_of_halves(run: Run, supernet: Any, seed: int) -> Any:
    """From an architecture to ``loss first``, ``loss second``, ``AP first`` … of the halves that a seed draws."""
    images = len(run.search.image_ids)
    halves = run.search.split({"first": images // 2, "second": images - images // 2}, seed)
    measures = {half: (Loss(run, part), part, run.evaluator(part)) for half, part in halves.items()}

    def scores(arch: Any) -> dict[str, float]:
        network, found = subnet(run, supernet, arch), {}
        for half, (loss, part, evaluator) in measures.items():
            metrics = run.metrics(network, part, arch, evaluator)
            names = [name for name in dict.fromkeys((run.score, MEAN_OKS, TORSO_PCK)) if name in metrics]
            found |= {f"{name} {half}": metrics[name] for name in names}
            found |= {f"{name} {half}": value for name, value in loss(network, arch).items()}
        return found

    return scores


def reliability(table: pd.DataFrame, *, resamples: int = 1000) -> pd.DataFrame:
    """Of every budget and score, and of each score's mean over the budgets: ``halves``, ``whole``, and its interval.

    Args:
        table: a line for each architecture: ``budget``, and two columns for each score, named as :data:`HALVES`.
        resamples: of the bootstrap over the architectures of each budget.
    """
    names = [name.removesuffix(" first") for name in table if str(name).endswith(" first")]
    rows = []
    for name in names:
        each = []
        for budget, part in table.groupby("budget", sort=True):
            one, two = (part[f"{name} {half}"].to_numpy(dtype=float) for half in HALVES)
            known = np.isfinite(one) & np.isfinite(two)
            one, two, count = one[known], two[known], int(known.sum())
            if count < 3:
                continue
            drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=resamples)
            each.append((spearman(one, two)[0], spearman(one, two, drawn)))
            rows.append(
                {"score": name, "MACs": f"{float(budget) / 1e6:g} M", "architectures": count, **_row(*each[-1])}
            )
        if len(each) > 1:
            together = np.mean([value for value, _ in each]), np.mean([values for _, values in each], axis=0)
            rows.append({"score": name, "MACs": "mean", "architectures": 0, **_row(*together)})
    return pd.DataFrame(rows)


def _row(value: Any, resampled: Any) -> dict[str, float]:
    low, high = np.nanpercentile(whole(resampled), TAILS) if np.isfinite(resampled).any() else (np.nan, np.nan)
    return {"halves": float(value), "whole": float(whole(value)), "low": float(low), "high": float(high)}


def whole(halves: Any) -> Any:
    """Spearman and Brown's reliability of a score by all people, from the correlation of two halves; below 0 that itself."""
    return np.where(np.asarray(halves) > 0, 2 * halves / (1 + np.maximum(halves, 0)), halves)


def measure(run: Run, source: Path, budgets: Sequence[int], count: int, seed: int, folder: Path) -> pd.DataFrame:
    """Score what the journal in the folder lacks; a line for each architecture."""
    journal: Journal[Any] = Journal(
        folder / "score_reliability.jsonl",
        space=run.space.fingerprint,
        seed=seed,
        settings=provenance(inputs.search(run, source)),
        to_json=run.family.to_json,
    )
    supernet = load_supernet(run, source)
    evaluate, rows = scores_of_halves(run, supernet, seed), []
    with Progress("two halves", len(budgets) * count) as progress:
        for budget in budgets:
            for arch in near_macs(run.space, run.costs.macs, [budget], [count], np.random.default_rng(seed))[0]:
                started = time.perf_counter()
                macs = int(run.costs.macs(run.space.encode(arch)[None])[0])
                record = journal.find(arch) or journal.add(
                    arch, algorithm="band", macs=macs, metrics=evaluate(arch), seconds=time.perf_counter() - started
                )
                rows.append({"budget": budget, "macs": macs, **record.metrics, "arch": record.key})
                progress.to(len(rows))
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score what is missing, print the reliabilities, write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, required=True, help="YAML file of the run")
    parser.add_argument("--supernet", type=Path, help="its weights, if not those in the run's folder")
    parser.add_argument("--budgets", type=float, nargs="+", help="MACs, if not those of SEARCH.BUDGETS")
    parser.add_argument("--architectures", type=int, default=24, help="of each budget (default 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the architectures")
    parser.add_argument("overrides", nargs="*", help="KEY VALUE …")
    options = parser.parse_intermixed_args(arguments)
    run = Run(load_config(options.cfg, ["THREADS", "1", *options.overrides]), options.cfg)
    source = options.supernet or run.paths.supernet_weights
    if not source.is_file():
        raise UserError(f"{source}: no such file; train the supernet first, or give --supernet")
    limits: list[Mapping[str, float]] = [budget.limits for budget in budgets_of(run.cfg)]
    budgets = options.budgets or [limit["macs"] for limit in limits if [*limit] == ["macs"]]
    if not budgets:
        raise UserError("there is no budget in MACs: give --budgets")
    folder = run.paths.fidelity / f"{sha256(source)[:12]}-{options.seed}"
    table = measure(run, source, [int(budget) for budget in budgets], options.architectures, options.seed, folder)
    found = reliability(table)
    write_csv(folder / "score_halves.csv", table)
    write_csv(folder / "score_reliability.csv", found)
    print(found.to_string(index=False, float_format="{:.2f}".format))
    print(folder / "score_reliability.csv")


if __name__ == "__main__":
    run_program(main)
