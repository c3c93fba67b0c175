"""The finalists of a search: the best within each budget are scored again on images that the search never saw.

The best of many noisy scores is partly the luckiest (the winner's curse): on other images it is worse than it seemed. What is
selected is the best by the mean of both scores, weighted by their images, which is what all images together say of an
architecture however it became a finalist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UserError
from ..io.tables import read_table
from ..report.tables import BOTH, FINAL, write_csv
from ..search.base import check_score
from ..search.journal import Journal, Record
from ..sharing.supernet import Supernet
from .budgets import budget_costs, budgets_of
from .candidates import finals_of
from .progress import Progress, say
from .run import Run
from .search import journal_of, score_table

STAGE = "final images"  # of the journal's records


def score_finalists(run: Run, supernet: Supernet[Any], source: Path, found: list[Record]) -> pd.DataFrame | None:
    """Score the best SEARCH.FINALISTS of every budget on the final images, and write ``search/finalists.csv``.

    Args:
        run: the run.
        supernet: trained, in eval mode.
        source: the file it came from.
        found: what the search evaluated.

    Returns:
        The finalists, with the columns of :func:`.search.score_table`, ``budgets``, and their score on the final images and on
        both; None, said where it is not asked for, when there are none or no images for them.
    """
    path = run.paths.finalists
    if not wanted(run, tell=True):
        path.unlink(missing_ok=True)
        return None
    table = score_table(run, found)
    finalists = finalists_in(run, table)
    if finalists.empty:
        path.unlink(missing_ok=True)
        return None
    name = run.data.search_score.name
    scores = _scores(run, supernet, source, [found[row] for row in finalists.index])
    finalists[f"{name}{FINAL}"] = scores
    finalists[f"{name}{BOTH}"] = _mean(run, finalists[name].to_numpy(dtype=float), scores)
    finalists = finalists.reset_index(drop=True)
    write_csv(path, finalists)
    best = finalists.iloc[[*_best(run, finalists, name).values()]]
    say(
        f"finalists: {len(finalists)} architectures were scored again on {_images(run)} other images; the search's best of each "
        f"budget had {name} {best[name].mean():.4g} in the search and have {best[f'{name}{FINAL}'].mean():.4g} there"
    )
    return finalists


def wanted(run: Run, *, tell: bool = False) -> bool:
    """Whether finalists are to be scored again; ``tell`` says in a line what stands against it."""
    if not run.cfg.SEARCH.FINALISTS or not run.cfg.SEARCH.BUDGETS:
        return False
    if run.data.final is not None:
        return True
    if tell:
        images = run.cfg.DATASET.FINAL_IMAGES
        reason = "DATASET.FINAL_IMAGES is 0"
        if images:
            reason = f"the training split is too small for DATASET.FINAL_IMAGES {images} beside those of the search"
        say(
            f"finalists: {reason}, so subnets are selected by the search's own scores, of which the best are partly lucky"
        )
    return False


def finalists_in(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """The best SEARCH.FINALISTS rows within each budget, and in ``budgets`` the names of these budgets."""
    score, of_row = run.data.search_score, dict[int, list[str]]()
    for budget in budgets_of(run.cfg):
        within = table[(table[[*budget.limits]].to_numpy(dtype=float) <= [*budget.limits.values()]).all(axis=1)]
        ordered = within.assign(worth=-score.sign * within[score.name]).sort_values(
            ["worth", *budget.limits], kind="stable"
        )
        for row in ordered.index[: run.cfg.SEARCH.FINALISTS]:
            of_row.setdefault(int(row), []).append(budget.name)
    rows = sorted(of_row)
    return table.loc[rows].assign(budgets=[" ".join(of_row[row]) for row in rows])


def kept_finalists(run: Run) -> pd.DataFrame | None:
    """The finalists that a search has left in its folder; None where it scored none again.

    Raises:
        UserError: finalists of the present budgets are missing.
    """
    if not wanted(run):
        return None
    path, evaluated = run.paths.finalists, run.paths.evaluated("found")
    if path.is_file() and evaluated.is_file():
        needed = {*budget_costs(run.cfg), run.data.search_score.name}
        finalists, table = (
            read_table(file, ("macs", "arch"), "run search.py again", needed) for file in (path, evaluated)
        )
        if needed <= {*table} and {*finalists_in(run, table)["arch"]} <= {*finalists["arch"]}:
            return finalists
    raise UserError(
        f"{path}: lacks finalists of SEARCH.BUDGETS or SEARCH.FINALISTS; run search.py again, which scores them"
    )


def column(run: Run) -> str:
    """Of the finalists' table, what they are selected by."""
    return f"{run.data.search_score.name}{BOTH}"


def _scores(
    run: Run, supernet: Supernet[Any], source: Path, records: list[Record]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The scores on the final images; what the journal has is not evaluated again."""
    journal: Journal[Any] = journal_of(run, source)
    archs = [run.family.from_json(record.arch) for record in records]
    score = run.data.search_score.name
    missing = [row for row, arch in enumerate(archs) if journal.find(arch, STAGE) is None]
    with Progress("finalists", len(archs), len(archs) - len(missing)) as progress:
        evaluated = finals_of(run, supernet, source)([archs[row] for row in missing]) if missing else ()
        for done, (position, metrics, seconds) in enumerate(evaluated, 1 + len(archs) - len(missing)):
            row = missing[position]
            check_score(archs[row], float(metrics[score]))
            journal.add(
                archs[row],
                algorithm=records[row].algorithm,
                macs=records[row].macs,
                metrics=metrics,
                seconds=seconds,
                costs=records[row].costs,
                stage=STAGE,
            )
            progress.to(done)
    kept = [journal.find(arch, STAGE) for arch in archs]
    return np.array([record.metrics[score] for record in kept if record is not None], dtype=np.float64)


def _images(run: Run) -> int:
    return 0 if run.data.final is None else len(run.data.final.image_ids)


def _mean(run: Run, searched: Any, final: Any) -> Any:
    """Of both scores, weighted by their images."""
    images = len(run.search.image_ids), _images(run)
    return (images[0] * searched + images[1] * final) / sum(images)


def _best(run: Run, finalists: pd.DataFrame, name: str) -> dict[str, int]:
    """The row of the best of each budget by a column."""
    sign, best = run.data.search_score.sign, dict[str, int]()
    for row, (budgets, value) in enumerate(zip(finalists["budgets"], finalists[name], strict=True)):
        for budget in str(budgets).split():
            if budget not in best or sign * value > sign * float(finalists[name].iloc[best[budget]]):
                best[budget] = row
    return best
