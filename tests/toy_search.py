"""A toy space, what its networks cost and score, and the algorithms that search it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search_spaces.space import Space, choice, repeat
from supernet.search import predictor
from supernet.search.evolution import Evolution
from supernet.search.nsga2 import NSGA2
from supernet.search.predictor import PredictorSearch
from supernet.search.random_search import RandomSearch
from supernet.sharing.protocols import Codes

ALGORITHMS = [RandomSearch, NSGA2, Evolution, PredictorSearch]


def quicken(patch: pytest.MonkeyPatch) -> None:
    """A predictor that looks about less: what it has to keep does not depend on how far it looks."""
    patch.setattr(predictor, "INNER_POPULATION", 20)
    patch.setattr(predictor, "INNER_GENERATIONS", 3)


def each_algorithm(test: Any) -> Any:
    """The test for each of them."""
    quickly = pytest.mark.usefixtures("quick")
    return quickly(pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)(test))


@dataclass(frozen=True)
class Block:
    kernel: Any
    width: Any


@dataclass(frozen=True)
class Net:
    side: Any
    blocks: Any


LARGE: Space[Net] = Space(Net(choice(2, 3, 4), repeat(Block(choice(3, 5, 7), choice(1, 2, 3, 4)), choice(2, 4, 6))))
TINY: Space[Net] = Space(Net(choice(2, 3), repeat(Block(choice(3, 5), 1), choice(1, 2))))  # 2 * (2 + 4) = 12


def macs(net: Net) -> int:
    return int(net.side**2 * sum(b.kernel * b.width for b in net.blocks))


def params(net: Net) -> int:
    return int(sum(b.kernel**2 * b.width for b in net.blocks))


def score(net: Net) -> float:
    return float(1 - np.exp(-sum(b.kernel**0.5 * b.width for b in net.blocks) / 20) + 0.1 * net.side)


class Costs:
    """``macs`` and ``params``, many at once: every option's value, 0 where a gene is absent."""

    names = ("macs", "params")

    def __init__(self, space: Space[Net]) -> None:
        self.kinds = np.array([gene.kind for gene in space.genes])
        self.options = [np.array([*gene.options, 0]) for gene in space.genes]

    def __call__(self, codes: Codes) -> npt.NDArray[np.float64]:
        values = np.column_stack([options[codes[:, gene]] for gene, options in enumerate(self.options)]).astype(float)
        side, kernel = values[:, self.kinds == "side"], values[:, self.kinds == "kernel"]
        width = values[:, self.kinds == "width"] if "width" in self.kinds else np.ones_like(kernel)
        return np.column_stack([side[:, 0] ** 2 * (kernel * width).sum(axis=1), (kernel**2 * width).sum(axis=1)])


def searcher(algorithm: Any, seed: int = 0, space: Space[Net] = LARGE, **kwargs: Any) -> Any:
    return algorithm(space, Costs(space), np.random.default_rng(seed), **{"population": 10, **kwargs})


def scores(codes: Codes, space: Space[Net] = LARGE) -> npt.NDArray[np.float64]:
    return np.array([score(space.decode(code)) for code in codes])


def asked(search: Any, generations: int) -> list[Net]:
    candidates: list[Net] = []
    for _ in range(generations):
        codes = search.ask()
        if not len(codes):
            break
        candidates += [search.space.decode(code) for code in codes]
        search.tell(codes, scores(codes, search.space))
    return candidates
