"""Ranking fidelity of a supernet: Kendall's τ and Spearman's ρ with stand-alone trainings, overall and in bands of cost.

Weight sharing is worth its search only where it orders architectures as separate trainings would (Yu et al., ICLR 2020,
"Evaluating the Search Phase of Neural Architecture Search"). A space of unequal sizes hides the question, since "the
larger, the better" already orders it well; so every correlation is also taken within bands of equal cost, and next to the
ranking by cost itself.

Shapes: N architectures, R resamples of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..errors import UserError
from ..io.tables import read_table

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
TAILS = (2.5, 97.5)  # percentiles: the ends of a 95 % interval
STANDALONE = ("macs", "params", "seed", "search", "test", "arch")
COLUMNS = (
    "predictor", "band", "architectures", "kendall", "kendall_low", "kendall_high", "spearman", "spearman_low",
    "spearman_high",
)  # fmt: skip


def read_standalone(path: Path) -> pd.DataFrame:
    """Read a table of stand-alone trainings: one line per (architecture as JSON, seed), with scores on search and test split.

    Raises:
        UserError: when it is missing, lacks a column of :data:`STANDALONE`, or holds a training twice.
    """
    table = read_table(path, STANDALONE, "make it with tools/fidelity.py")
    twice = table.duplicated(["arch", "seed"])
    if twice.any():
        raise UserError(
            f"{path}: line {int(twice.argmax()) + 2} repeats an architecture and seed; remove one of the two"
        )
    return table


def mean_over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of each architecture over its trainings; one line each, in the table's order."""
    grouped = table.groupby("arch", sort=False)
    return grouped.agg(
        {"macs": "first", "params": "first", "seed": "count", "search": "mean", "test": "mean"}
    ).reset_index().rename(columns={"seed": "trainings"})  # fmt: skip


def spread(costs: npt.ArrayLike, count: int) -> list[int]:
    """Choose rows whose costs cover the range from the cheapest to the dearest, none twice.

    The targets are those of van der Corput's sequence in base 2 (halves, quarters, eighths …), so every beginning of the
    list is spread out too, and a longer list begins with the shorter one.

    Raises:
        UserError: when there are fewer rows than wanted.
    """
    values = np.asarray(costs, dtype=np.float64)
    if count > len(values):
        raise UserError(
            f"{count} architectures are wanted, the space offers {len(values)}; lower FIDELITY.ARCHITECTURES"
        )
    low, high = float(values.min()), float(values.max())
    free, rows = np.ones(len(values), dtype=bool), []
    for index in range(count):
        distance = np.where(free, np.abs(values - (low + (high - low) * _van_der_corput(index))), np.inf)
        row = int(distance.argmin())
        free[row] = False
        rows.append(row)
    return rows


def _van_der_corput(index: int) -> float:
    """0, 1, then 1/2, 1/4, 3/4, 1/8 …: both ends of the range come first."""
    if index < 2:
        return float(index)
    bits = bin(index - 1)[2:]
    return math.fsum(int(bit) / 2 ** (place + 1) for place, bit in enumerate(reversed(bits)))


def kendall(first: npt.ArrayLike, second: npt.ArrayLike, counts: npt.ArrayLike | None = None) -> Floats:
    """Kendall's τ-b, which allows for ties, of R resamples: (R,). NaN where one side is constant.

    Args:
        first: (N,).
        second: (N,).
        counts: (R, N), how often each architecture is in each resample; without, one that has each once.
    """
    one, two = _orders(first), _orders(second)
    weights = np.ones((1, len(one))) if counts is None else np.asarray(counts, dtype=np.float64)

    def pairs(matrix: Floats) -> Floats:
        return np.asarray(((weights @ matrix) * weights).sum(axis=1))

    return _ratio(pairs(one * two), pairs(one**2) * pairs(two**2))


def spearman(first: npt.ArrayLike, second: npt.ArrayLike, counts: npt.ArrayLike | None = None) -> Floats:
    """Spearman's ρ, the correlation of the ranks, of R resamples: (R,). NaN where one side is constant.

    Arguments as those of :func:`kendall`.
    """
    one, two = _orders(first), _orders(second)
    weights = np.ones((1, len(one))) if counts is None else np.asarray(counts, dtype=np.float64)
    # The number of those below less the number of those above: twice the rank among the resample, from its mean.
    ranks_one, ranks_two = weights @ one.T, weights @ two.T
    spread_one, spread_two = ((weights * ranks**2).sum(axis=1) for ranks in (ranks_one, ranks_two))
    return _ratio((weights * ranks_one * ranks_two).sum(axis=1), spread_one * spread_two)


def ceiling(agreement: float, trainings: float) -> float:
    """Noise ceiling: Kendall's τ that a perfect ranking would reach with noisy scores.

    Of normally distributed scores: the mean of k trainings has the reliability k·r / (1 + (k - 1)·r) (Spearman, Brown
    1910), its correlation with the true scores is the root of that, and τ = 2/π·asin of it (Kendall & Gibbons).

    Args:
        agreement: Pearson's correlation r between the scores of two trainings of each architecture.
        trainings: k, how many trainings each architecture's score is the mean of.

    Returns:
        0 where two trainings do not agree at all; NaN for NaN.
    """
    r = max(agreement, 0.0) if math.isfinite(agreement) else agreement
    return 2 / math.pi * math.asin(math.sqrt(trainings * r / (1 + (trainings - 1) * r)))


@dataclass(frozen=True)
class SeedNoise:
    """Noise of a training by its seed, of the architectures that were trained with the first two seeds.

    Attributes:
        architectures: how many there are; 0 for fewer than three, of which nothing is said.
        kendall: τ between the test scores of the two seeds.
        noise: standard deviation of one training's test score.
        ceiling: τ that a perfect ranking would reach (:func:`ceiling`).
    """

    architectures: int = 0
    kendall: float = float("nan")
    noise: float = float("nan")
    ceiling: float = float("nan")


def seed_noise(trainings: pd.DataFrame, band_count: int = 1) -> SeedNoise:
    """Estimate the noise of a training by its seed from a table of trainings.

    Args:
        trainings: with the columns ``arch``, ``seed``, ``test``, and with more than one band ``macs``.
        band_count: bands of MACs (:func:`bands`), within which two trainings have to agree: what they agree on because one
            network is larger than the other, no ranking at equal MACs can use.
    """
    archs = trainings.drop_duplicates("arch").set_index("arch")
    band = pd.Series(bands(archs.macs, band_count) if band_count > 1 else 0, archs.index)
    scores = trainings.pivot(index="arch", columns="seed", values="test").iloc[:, :2].dropna()
    if scores.shape[1] < 2 or len(scores) < 2 + band_count:
        return SeedNoise()
    within = scores - scores.groupby(band.loc[scores.index]).transform("mean") if band_count > 1 else scores
    first, second = within.to_numpy(dtype=np.float64).T
    agreement = float(np.corrcoef(first, second)[0, 1]) if first.std() and second.std() else float("nan")
    each = len(trainings) / trainings.arch.nunique()
    noise = float(np.sqrt(np.mean((scores.iloc[:, 0] - scores.iloc[:, 1]) ** 2) / 2))
    return SeedNoise(len(scores), kendall(first, second).item(), noise, ceiling(agreement, each))


def _orders(values: npt.ArrayLike) -> Floats:
    """(N, N): 1 where the row's value is above the column's, -1 below, 0 for ties."""
    array = np.asarray(values, dtype=np.float64)
    return np.sign(array[:, None] - array[None, :])


def _ratio(products: Floats, squares: Floats) -> Floats:
    return np.divide(products, np.sqrt(squares), out=np.full_like(squares, np.nan), where=squares > 0)


def bands(costs: npt.ArrayLike, count: int) -> Integers:
    """Divide architectures into bands of cost, 0 for the cheapest: ``count`` bands of nearly as many architectures each.

    Equal costs lie in one band.
    """
    values = np.asarray(costs, dtype=np.float64)
    edges = np.quantile(values, np.arange(1, count) / count)
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def correlations(
    truth: npt.ArrayLike,
    predictors: Mapping[str, npt.ArrayLike],
    costs: npt.ArrayLike,
    *,
    baseline: str | None = None,
    band_count: int = 4,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Kendall's τ and Spearman's ρ of every predictor with the truth: overall, in each band of cost, and within the bands.

    "within bands" is the mean over the bands. The lead of every predictor over the baseline is a row of its own, since both
    see the same resamples: an interval above 0 says that it ranks better.

    Args:
        truth: score of each architecture trained stand-alone.
        predictors: name → what is thought to rank the architectures alike; larger is better.
        costs: multiply-accumulates, for the bands.
        baseline: the predictor that the others should lead over.
        band_count: how many bands of equally many architectures.
        resamples: of the bootstrap over architectures (within each band, where bands are averaged).
        seed: of the resampling.

    Returns:
        :data:`COLUMNS`, one row for every predictor (or lead) and band.

    Raises:
        UserError: fewer than three architectures to a band, or a number that is none.
    """
    known = {name: np.asarray(values, dtype=np.float64) for name, values in predictors.items()}
    target, cost = np.asarray(truth, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if len(target) < 3 * band_count:
        raise UserError(
            f"{len(target)} architectures in {band_count} bands: give at least 3 for each, or lower FIDELITY.BANDS"
        )
    for name, values in {**known, "truth": target}.items():
        if not np.isfinite(values).all():
            raise UserError(f"{name}: the score of architecture {int(np.isfinite(values).argmin())} is not finite")
    band = bands(cost, band_count)
    members = [np.flatnonzero(band == index) for index in range(band_count)]
    groups: dict[str, Sequence[Rows]] = {"all": [np.arange(len(target))]}
    groups |= {_label(cost[rows]): [rows] for rows in members}
    groups["within bands"] = members

    leads = [(name, baseline) for name in known if baseline is not None and name != baseline]
    pairs = [*((name, None) for name in known), *leads]
    rows = []
    for where, parts in groups.items():
        rng = np.random.default_rng(seed)
        drawn = [rng.multinomial(len(part), np.full(len(part), 1 / len(part)), size=resamples) for part in parts]
        for name, other in pairs:
            figures: list[float] = []
            for measure in (kendall, spearman):
                whole, resampled = (
                    _mean(measure, known[name], target, parts, counts)
                    - (0.0 if other is None else _mean(measure, known[other], target, parts, counts))
                    for counts in ([None] * len(parts), drawn)
                )
                resampled = resampled[np.isfinite(resampled)]  # few architectures, drawn again, may be all alike
                ends = np.percentile(resampled, TAILS) if len(resampled) else np.full(2, np.nan)
                figures += [*whole.tolist(), *ends.tolist()]
            title = name if other is None else f"{name} - {other}"
            rows.append((title, where, sum(map(len, parts)), *figures))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _mean(
    measure: Callable[..., Floats], values: Floats, target: Floats, parts: Sequence[Rows], counts: Sequence[Any]
) -> Floats:
    """The mean over parts of a correlation, for each resample."""
    each = [measure(values[part], target[part], count) for part, count in zip(parts, counts, strict=True)]
    return np.asarray(np.mean(each, axis=0))


def _label(costs: Floats) -> str:
    return f"{costs.min() / 1e6:.1f} to {costs.max() / 1e6:.1f} MMACs"
