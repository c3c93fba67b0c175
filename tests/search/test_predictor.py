"""The ensemble against data of which the truth is known, and what the search says about it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.space import Space, choice
from supernet.search.ensemble import FOLDS, Ensemble
from supernet.search.predictor import Fit, PredictorSearch
from supernet.sharing.protocols import Codes

FloatArray = npt.NDArray[np.float64]


def data(rows: int, noise: float, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, size=(rows, 6)) / 3
    y = 40 + 10 * x[:, 0] + 5 * np.sqrt(x[:, 1]) + 4 * x[:, 2] * x[:, 3] + noise * rng.standard_normal(rows)
    return x, y


def test_it_predicts_what_it_has_not_seen_and_says_how_well() -> None:
    (x, y), (new, truth) = data(80, 0.3), data(300, 0.0, seed=1)
    model = Ensemble(x, y, np.random.default_rng(0))
    means, deviations = model.predict(new)
    assert np.sqrt(np.mean((means - truth) ** 2)) < 0.6 and truth.std() > 3
    assert np.mean(np.abs(means - truth) <= 2 * deviations) > 0.9
    assert model.kendall() > 0.8 and model.spearman() > 0.95
    held_out = np.abs(model.held_out - y) <= 2 * model.held_out_deviation
    assert 0.85 < held_out.mean() <= 1.0


def test_what_cannot_be_predicted_is_said_to_be_so() -> None:
    """Scores of pure chance have no rank correlation; only the training rows would."""
    x, _ = data(80, 0.0)
    model = Ensemble(x, np.random.default_rng(5).standard_normal(80), np.random.default_rng(0))
    assert abs(model.kendall()) < 0.25 and abs(model.spearman()) < 0.35
    assert 0.5 < model.predict(x)[1].mean() < 1.5


def test_uncertainty_grows_away_from_the_data() -> None:
    x, y = data(40, 0.1)
    model = Ensemble(x, y, np.random.default_rng(0))
    assert model.predict(x + 3.0)[1].min() > 2 * model.predict(x)[1].max()


def test_equal_scores_and_fixed_features_are_no_trouble() -> None:
    x = np.column_stack([data(2 * FOLDS, 0.0)[0], np.ones(2 * FOLDS)])
    model = Ensemble(x, np.full(2 * FOLDS, 7.0), np.random.default_rng(0))
    means, deviations = model.predict(x + 1.0)
    assert np.allclose(means, 7.0) and np.isfinite(deviations).all()
    assert model.kendall() == 0.0 == model.spearman()


def test_the_folds_follow_from_the_generator() -> None:
    x, y = data(40, 0.1)
    one, same, other = (Ensemble(x, y, np.random.default_rng(seed)).held_out for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@dataclass(frozen=True)
class Net:
    widths: Any


SPACE: Space[Net] = Space(Net(tuple(choice(1, 2, 3, 4) for _ in range(8))))


class Widths:
    """What the widths cost."""

    names = ("macs",)

    def __call__(self, codes: Codes) -> FloatArray:
        return (codes + 1.0).sum(axis=1)[:, None]


def test_a_search_reports_every_fit_and_proposes_what_is_good_and_what_is_unknown() -> None:
    fits: list[Fit] = []
    weights = np.array([3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    search = PredictorSearch(SPACE, Widths(), np.random.default_rng(0), population=20, on_fit=fits.append)
    for _ in range(4):
        codes = search.ask()
        search.tell(codes, (codes * weights).sum(axis=1))
    assert [fit.evaluated for fit in fits] == [20, 40, 60]
    assert fits[-1].kendall > 0.9 and fits[-1].spearman > fits[-1].kendall
    assert fits[-1].error < fits[0].error and 0.8 < fits[-1].coverage <= 1.0 and fits[-1].deviation > 0
    assert dataclasses.asdict(fits[0]).keys() == {"evaluated", "kendall", "spearman", "error", "coverage", "deviation"}
    assert codes[:, 4:].sum(axis=1).mean() < 3  # what costs and brings nothing; 6 by chance
