"""The search of a run: evaluate architectures, keep them in the journal, find the front."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..report import write_csv
from ..search.base import Searcher
from ..search.evolution import Evolution
from ..search.journal import Journal, Record
from ..search.loop import run_search
from ..search.nsga2 import NSGA2
from ..search.pareto import non_dominated
from ..search.predictor import Fit, PredictorSearch
from ..search.random_search import RandomSearch
from ..search.successive_halving import Halving
from ..sharing.supernet import Supernet
from . import inputs
from .budgets import budget_costs
from .candidates import evaluate_of, losses_of
from .costs import costs_of, limits_of
from .keys import provenance
from .progress import Progress, say
from .run import Run


def search(run: Run, supernet: Supernet[Any], source: Path) -> tuple[list[Record], list[Record]]:
    """Evaluate SEARCH.EVALUATIONS architectures, and SEARCH.RANDOM_BASELINE random ones, on the search split.

    With SEARCH.HALVING they are the survivors of as many more whose loss alone was measured; the baseline is never halved.
    """
    cfg = run.cfg.SEARCH
    journal = journal_of(run, source)
    evaluate, halving, score = evaluate_of(run, supernet, source), None, run.data.search_score
    if cfg.HALVING.IMAGES:
        stage = f"loss on {cfg.HALVING.IMAGES} images"
        halving = Halving(losses_of(run, supernet, source), stage, cfg.HALVING.KEEP)

    def search_with(algorithm: str, evaluations: int, title: str, halving: Halving[Any] | None) -> list[Record]:
        with Progress(title, evaluations) as progress:
            return run_search(
                _searcher(run, algorithm),
                evaluate,
                journal,
                evaluations,
                score.name,
                lambda done, record: progress.to(
                    done, **{score.name: record.metrics[score.name], "MMACs": record.macs / 1e6}
                ),
                halving,
                lower_is_better=score.lower,
            )

    found = search_with(cfg.ALGORITHM, cfg.EVALUATIONS, f"search ({cfg.ALGORITHM})", halving)
    if halving is not None:
        looks = sum(record.stage == halving.stage for record in journal.records)
        say(f"search: {looks:,} architectures had their {halving.stage}, {len(found):,} of them were evaluated")
    baseline: list[Record] = []
    if cfg.RANDOM_BASELINE:
        baseline = search_with("random", cfg.RANDOM_BASELINE, "search (random baseline)", None)
    write_csv(run.paths.evaluated("found"), score_table(run, found))
    write_csv(run.paths.evaluated("random"), score_table(run, baseline))
    return found, baseline


def journal_of(run: Run, source: Path) -> Journal[Any]:
    """The journal of the run's search in the supernet of a file."""
    return Journal(
        run.paths.journal,
        space=run.space.fingerprint,
        seed=run.cfg.SEARCH.SEED,
        settings=provenance(inputs.search(run, source)),
        to_json=run.family.to_json,
    )


def _searcher(run: Run, algorithm: str) -> Searcher[Any]:
    cfg = run.cfg.SEARCH
    common: dict[str, Any] = {
        "space": run.space,
        "costs": costs_of(run),
        "rng": np.random.default_rng(cfg.SEED),
        "population": cfg.POPULATION,
        "limits": limits_of(run),
    }
    objectives: dict[str, Any] = {"objectives": run.cfg.COST.OBJECTIVES}
    mutation: dict[str, Any] = {"mutation_probability": cfg.MUTATION_PROBABILITY or 1 / max(1, len(run.space.genes))}
    match algorithm:
        case "random":
            return RandomSearch(**common, **objectives)
        case "evolution":
            generations = -(-cfg.EVALUATIONS // cfg.POPULATION)
            return Evolution(**common, **mutation, parent_ratio=cfg.PARENT_RATIO, iterations=generations)
        case "predictor":
            return PredictorSearch(**common, **objectives, **mutation, on_fit=_fit_log(run.paths.predictor))
        case _:
            return NSGA2(**common, **objectives, **mutation)


def _fit_log(path: Path) -> Callable[[Fit], None]:
    """Says how good the predictor was in each generation, and keeps it in ``predictor.csv``."""
    fits: list[Fit] = []

    def on_fit(fit: Fit) -> None:
        fits.append(fit)
        write_csv(path, pd.DataFrame(fits))
        say(
            f"predictor after {fit.evaluated} evaluations: τ {fit.kendall:.2f}, ρ {fit.spearman:.2f}, error {fit.error:.4g}, "
            f"{100 * fit.coverage:.0f} % within two deviations; the next candidates have ± {fit.deviation:.4g}"
        )

    return on_fit


def score_table(run: Run, records: Sequence[Record]) -> pd.DataFrame:
    """What was evaluated: macs, params, resolution, other costs of search and budgets, every metric, the architecture (JSON)."""
    if not records:
        return pd.DataFrame()
    archs = [run.family.from_json(record.arch) for record in records]
    codes = np.stack([run.space.encode(arch) for arch in archs])
    costs = costs_of(run, budget_costs(run.cfg))
    table = pd.DataFrame(
        {
            "macs": [record.macs for record in records],
            "params": run.costs.params(codes),
            "resolution": [arch.input_hw[0] for arch in archs],
        }
    )
    for name, column in zip(costs.names, costs(codes).T, strict=True):
        if name not in table:
            table[name] = column
    metrics = pd.DataFrame([record.metrics for record in records])
    return table.join(metrics).assign(arch=[json.dumps(record.arch) for record in records])


def front_of(run: Run, records: Sequence[Record]) -> pd.DataFrame:
    """The Pareto front of what was evaluated, by MACs: the columns of :func:`score_table`, and a name.

    It is that of the objectives and of the costs that budgets limit, so that the best within each budget is on it.
    """
    table, score = score_table(run, records), run.data.search_score
    costs = dict.fromkeys([*run.cfg.COST.OBJECTIVES, *budget_costs(run.cfg)])
    points = np.column_stack(
        [table[[*costs]].to_numpy(dtype=float), score.sign * table[score.name].to_numpy(dtype=float)]
    )
    best = non_dominated(points)
    front = table[best].sort_values("macs").reset_index(drop=True)
    front.insert(0, "name", [f"front-{index}" for index in range(len(front))])
    return front
