"""Ensemble of Gaussian processes: predict scores with their uncertainty from a few dozen evaluations.

Each member is a Gaussian process (Rasmussen & Williams 2006, algorithm 2.1) that was trained without one fold of the
data. Its predictions for that fold are a fair test, so the ensemble's cross-validation costs nothing extra; the idea is
that of the jackknife+ (Barber et al. 2021). The kernel is linear plus squared exponential: more of everything is better
on the whole, and the rest is smooth. Length and noise are those of the largest marginal likelihood on a small grid.

Shapes: N evaluated, M to be predicted, F features.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import kendalltau, spearmanr

from .pareto import FloatArray

FOLDS = 5
LENGTHS = (0.5, 1.0, 2.0)  # of the squared exponential, in units of a typical distance
NOISES = (1e-3, 1e-2, 1e-1, 1.0)  # variance of the noise, of a signal of variance 1


class Ensemble:
    """Ensemble of Gaussian processes that predicts scores from features.

    Args:
        features: (N, F), N at least 2 · FOLDS.
        scores: (N,).
        rng: which rows form a fold.

    Attributes:
        held_out: (N,), the prediction for each row by the member that did not see it.
        held_out_deviation: (N,), that member's standard deviation.
    """

    def __init__(self, features: FloatArray, scores: FloatArray, rng: np.random.Generator) -> None:
        self._centre, self._spread = features.mean(axis=0), features.std(axis=0)
        self._spread[self._spread == 0] = np.inf  # what never varied says nothing
        self._level, self._unit = float(scores.mean()), float(scores.std()) or 1.0
        self.scores = scores
        x, y = self._scaled(features), (scores - self._level) / self._unit
        fold = rng.permutation(len(y)) % FOLDS
        self._members = [_Process(x[fold != index], y[fold != index]) for index in range(FOLDS)]
        means, variances = np.empty(len(y)), np.empty(len(y))
        for index, member in enumerate(self._members):
            means[fold == index], variances[fold == index] = member.predict(x[fold == index])
        self.held_out = means * self._unit + self._level
        self.held_out_deviation = np.sqrt(variances) * self._unit

    def predict(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of a new measurement at (M, F): (M,) each, those of the mixture of all members."""
        x = self._scaled(features)
        means, variances = (
            np.stack(parts) for parts in zip(*(member.predict(x) for member in self._members), strict=True)
        )
        deviation = np.sqrt(variances.mean(axis=0) + means.var(axis=0))
        return means.mean(axis=0) * self._unit + self._level, deviation * self._unit

    def kendall(self) -> float:
        """Kendall's τ between held-out predictions and scores; 0 where either is constant."""
        return float(kendalltau(self.held_out, self.scores).statistic) if self._ranked else 0.0

    def spearman(self) -> float:
        """Spearman's ρ between held-out predictions and scores; 0 where either is constant."""
        return float(spearmanr(self.held_out, self.scores).statistic) if self._ranked else 0.0

    @property
    def _ranked(self) -> bool:
        return bool(np.ptp(self.held_out) > 0 and np.ptp(self.scores) > 0)

    def _scaled(self, features: FloatArray) -> FloatArray:
        scaled: FloatArray = (features - self._centre) / self._spread
        return scaled


class _Process:
    """One Gaussian process on standardised data."""

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self._x = x
        self._features = max(1, x.shape[1])
        best = -np.inf
        for length in LENGTHS:
            values, vectors = np.linalg.eigh(self._kernel(x, length))
            rotated = (vectors.T @ y) ** 2
            for noise in NOISES:
                spectrum = np.maximum(values, 0) + noise
                amplitude = float(np.mean(rotated / spectrum))  # of the largest likelihood, in closed form
                likelihood = -len(y) * np.log(max(amplitude, 1e-12)) - float(np.log(spectrum).sum())
                if likelihood > best:
                    best, self._length, self._noise, self._amplitude = likelihood, length, noise, amplitude
        self._factor = cho_factor(self._kernel(x, self._length) + self._noise * np.eye(len(y)), lower=True)
        self._weights = cho_solve(self._factor, y)

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of a measurement, noise included."""
        cross = self._kernel(x, self._length)
        own = 1.0 + (x**2).sum(axis=1) / self._features
        reduction = (cross * cho_solve(self._factor, cross.T).T).sum(axis=1)
        return cross @ self._weights, self._amplitude * np.maximum(own - reduction + self._noise, self._noise)

    def _kernel(self, x: FloatArray, length: float) -> FloatArray:
        """Of new rows against the training rows."""
        products = x @ self._x.T
        squares = (x**2).sum(axis=1)[:, None] + (self._x**2).sum(axis=1) - 2 * products
        result: FloatArray = products / self._features + np.exp(-squares / (2 * length**2 * self._features))
        return result
