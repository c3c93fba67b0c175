"""Does a search pay? The searched networks against random ones of equal MACs and hand-made ones, each trained alone.

A supernet is trained on the training photographs; an evolution scores candidates of the budget by their loss on one half of the
search split; the best 20 are scored again on the other half, which selects. Selected, random, hand-made and published networks
are then trained from fresh weights for equally many passes and scored on the test split. The primary figure is the mean OKS. One
thread; what was stopped goes on with the same command, and the tables are evaluations.csv and trainings.csv.

python -m tools.bench.search_gain --out <folder> -- DATASET.ROOT data/lspet DATASET.SEARCH_IMAGES 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from search_spaces import find_published
from supernet import Supernet
from supernet.cost.macs import count
from supernet.search.evolution import Evolution
from supernet.search.near import near_macs
from supernet.sharing.calibration import calibrate
from tools.bench.photographs import CONFIGURATION, People, Photographs, Table, as_text
from tools.bench.space_gate import passes, standalone
from tools.bench.supernet_methods import METHODS, trained

WITHIN = 0.02  # of the budget
GROUPS = ("selected", "hand-made", "random", "published")
PUBLISHED = ("litehrnet_18_coco_256x192",)  # the one whose MACs at 96×96 pixels are near the budgets: 45.5 million
DEPTHS = (
    (1, 1, 1, 1),
    (1, 1, 2, 1),
    (1, 2, 2, 2),
    (2, 2, 3, 3),
    (2, 3, 3, 3),
    (2, 3, 4, 4),
    (3, 4, 5, 5),
    (3, 4, 5, 4),
)


@dataclass(frozen=True, eq=False)
class Halves:
    """The search split in two."""

    first: People
    second: People

    @classmethod
    def of(cls, people: People) -> Halves:
        """Every second person."""
        return cls(*(_part(people, range(start, len(people.people), 2)) for start in (0, 1)))


def _part(people: People, positions: range) -> People:
    index = torch.tensor(positions)
    return People(
        people.skeleton,
        [people.people[position] for position in positions],
        *(tensor[index] for tensor in (people.crops, people.heatmaps, people.weights)),
        *(array[list(positions)] for array in (people.centers, people.scales)),
    )


class Search:
    """The scores that a supernet gives, each found once.

    Args:
        photographs: the run.
        supernet: trained, in eval mode.
        table: evaluations so far.
        calibration: images for BatchNorm's statistics.
    """

    def __init__(self, photographs: Photographs, supernet: Supernet[Any], table: Table, calibration: int) -> None:
        self.photographs, self.supernet, self.table = photographs, supernet, table
        self.batches = photographs.calibration[: max(1, calibration // 64)]
        self.halves = Halves.of(photographs.search)
        self.space, self.macs = photographs.run.space, photographs.run.costs.macs

    def loss(self, code: Any, half: str) -> float:
        """Of the architecture of a code, extracted and calibrated, on ``first`` or ``second``."""
        name = " ".join(map(str, code.tolist()))
        row = self.table.find(code=name, half=half)
        if row is None:
            network = self.supernet.extract(self.space.decode(code)).to(memory_format=torch.channels_last)
            calibrate(network, self.batches)
            loss = self.photographs.scores(network, getattr(self.halves, half), poses=False)["loss"]
            row = {"code": name, "half": half, "macs": int(self.macs(code[None])[0]), "loss": loss}
            self.table.add(row)
        return float(row["loss"])

    def selected(self, budget: int, population: int, iterations: int, count: int, finalists: int = 20) -> list[Any]:
        """The ``count`` architectures that a search within the budget selects."""
        costs: Any = self.photographs.run.costs
        evolution = Evolution(
            self.space,
            costs,
            np.random.default_rng(0),
            population=population,
            limits={"macs": budget * (1 + WITHIN)},
            iterations=iterations,
        )
        seen: dict[tuple[int, ...], float] = {}
        while len(codes := evolution.ask()):
            scores = np.array([-self.loss(code, "first") for code in codes])
            seen |= {tuple(code.tolist()): -score for code, score in zip(codes, scores, strict=True)}
            evolution.tell(codes, scores)
            print(f"{len(seen)} candidates of {budget:,} MACs, best loss {min(seen.values()):.5f}", flush=True)
        best = [np.array(code, np.int16) for code in sorted(seen, key=seen.__getitem__)[:finalists]]
        best.sort(key=lambda code: self.loss(code, "second"))
        return [self.space.decode(code) for code in best[:count]]


def handmade(space: Any, macs: Any, budget: int) -> dict[str, Any]:
    """Regular networks as a person would write them: one kernel and one expansion, widths and depths that grow together."""
    found: dict[str, Any] = {}
    for kernel in (3, 5, 7, 9):
        fitting = []
        for expansion, depths, level in product((2, 4), DEPTHS, range(3)):
            tree: dict[str, Any] = {"kernel": [kernel], "expansion": [expansion]}
            options = [gene.options for gene in space.genes if gene.kind == "width"]
            tree |= {f"backbone.stages[[]{i}].width": [sizes[level]] for i, sizes in enumerate(options)}
            tree |= {f"backbone.stages[[]{i}].blocks.depth": [depth] for i, depth in enumerate(depths)}
            tree |= {"deconv_width": [space.largest.head.deconv_width[0]] if level == 2 else [32]}
            arch = space.restrict(tree).largest
            cost = int(macs(space.encode(arch)[None])[0])
            if cost <= budget * (1 + WITHIN):
                fitting.append((cost, arch))
        if fitting:
            found[f"hand-made, kernel {kernel}"] = max(fitting, key=lambda pair: pair[0])[1]
    return found


@dataclass(frozen=True)
class Contender:
    """A network to be trained alone.

    Attributes:
        budget: MACs that it stands for.
        group: ``selected``, ``hand-made``, ``random`` or ``published``.
        name: within its group.
        seeds: trainings of it.
        text: its architecture.
        build: makes it.
    """

    budget: int
    group: str
    name: str
    seeds: int
    text: str
    build: Callable[[], nn.Module]


def contenders(run: Any, searched: Callable[[], Search], options: argparse.Namespace) -> Iterator[Contender]:
    """The networks of every wanted group; the supernet is trained only where ``selected`` is wanted."""
    space, macs = run.space, run.costs.macs
    for budget in options.budgets:
        archs: dict[str, dict[str, Any]] = {}
        if "selected" in options.groups:
            selected = searched().selected(budget, options.population, options.iterations, options.selected)
            archs["selected"] = {f"selected {number}": arch for number, arch in enumerate(selected, 1)}
        if "hand-made" in options.groups:
            archs["hand-made"] = handmade(space, macs, budget)
        if "random" in options.groups:
            (random,) = near_macs(space, macs, [budget], [options.random], np.random.default_rng(1), WITHIN)
            archs["random"] = {f"random {number}": arch for number, arch in enumerate(random, 1)}
        for group, named in archs.items():
            for number, (name, arch) in enumerate(named.items()):
                seeds = options.seeds if group != "random" or number < options.twice else 1
                yield Contender(budget, group, name, seeds, as_text(run.family, arch), partial(run.build, arch))
    if "published" in options.groups:
        for name in PUBLISHED:
            family, entry = find_published(name)
            build = partial(family.build, entry.arch, run.skeleton.num_joints, **entry.options)
            yield Contender(0, "published", name, options.seeds, name, build)


def permutation(better: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Difference of the means, and the share of all divisions into groups of these sizes with a difference as large.

    SciPy's permutation_test takes no group of one.
    """
    if not better or not others:
        return float("nan"), 1.0
    values, size = np.array([*better, *others]), len(better)
    difference = float(np.mean(better) - np.mean(others))
    total = values.sum()
    if comb(len(values), size) > 200_000:
        rng = np.random.default_rng(0)
        sums = np.array([rng.permutation(values)[:size].sum() for _ in range(200_000)])
    else:
        sums = np.array([values[list(chosen)].sum() for chosen in combinations(range(len(values)), size)])
    differences = sums / size - (total - sums) / (len(values) - size)
    return difference, float((differences >= difference - 1e-12).mean())


def summary(table: pd.DataFrame) -> str:
    """For each budget: means of the groups, gain over each other group with its p, percentile of the selected."""
    lines = []
    for budget, part in table.groupby("budget"):
        of_arch = part.groupby(["group", "name"], sort=False)[["test_oks", "test_pck", "test_loss", "macs"]].mean()
        lines.append(f"{budget:,} MACs\n{of_arch.to_string(float_format='{:.4f}'.format)}")
        if "selected" not in of_arch.index:
            continue
        selected = of_arch.loc["selected", "test_oks"].tolist()
        for group in ("random", "hand-made"):
            if group in of_arch.index:
                others = of_arch.loc[group, "test_oks"].tolist()
                gain, p = permutation(selected, others)
                rank = np.mean([np.mean(np.array(others) < value) for value in selected])
                lines.append(
                    f"over {group}: mean OKS {gain:+.4f}, p = {p:.4f}, above {rank:.0%} of them, {len(others)} networks"
                )
    return "\n".join(lines)


def main() -> None:
    """Train and search what is not there yet and print what the tables say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, default=CONFIGURATION)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budgets", type=int, nargs="+", default=[36_000_000, 24_000_000])
    parser.add_argument("--method", default="identity", choices=list(METHODS), help="of training the supernet")
    parser.add_argument("--steps", type=int, default=3000, help="of the supernet (default 3000)")
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--iterations", type=int, default=5, help="generations after the random one (default 5)")
    parser.add_argument("--selected", type=int, default=3)
    parser.add_argument("--random", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2, help="of selected and hand-made networks; random ones have one")
    parser.add_argument("--twice", type=int, default=0, help="random networks that have all seeds (default 0)")
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=GROUPS, help="default: all")
    parser.add_argument("--epochs", type=int, default=3, help="of each training (default 3)")
    parser.add_argument("--calibration", type=int, default=128)
    parser.add_argument("overrides", nargs="*", help="KEY VALUE …")
    options = parser.parse_args()
    photographs = Photographs.of(options.cfg, ["THREADS", "1", *options.overrides])
    run = photographs.run

    @cache
    def searched() -> Search:
        folder, method = options.out / "supernet", METHODS[options.method]
        supernet = trained(photographs, run.space, method, 0, options.steps, folder, "supernet")
        evaluations = Table(options.out / "evaluations.csv", ("code", "half"))
        return Search(photographs, supernet, evaluations, options.calibration)

    table = Table(options.out / "trainings.csv", ("budget", "name", "seed"))
    wanted = [(one, seed) for one in contenders(run, searched, options) for seed in range(one.seeds)]
    for one, seed in sorted(wanted, key=lambda pair: pair[1]):
        if (row := table.find(budget=one.budget, name=one.name, seed=seed)) is not None:
            if row["images"] != passes(run, options.epochs):
                raise SystemExit(
                    f"{table.path}: {one.name} was trained on {row['images']:,} images; give another --out"
                )
            continue
        title = f"{one.budget}-{one.name.replace(', ', '-').replace(' ', '-')}-{seed}"
        folder = options.out / "networks" / title
        scores, images, minutes = standalone(photographs, one.build, one.text, seed, options.epochs, folder, title)
        cost = count(one.build(), (1, 3, *run.space.smallest.input_hw))
        row = {"budget": one.budget, "group": one.group, "name": one.name, "seed": seed, "macs": cost.macs}
        row |= {"params": cost.params, "images": images, **scores, "minutes": round(minutes, 1), "arch": one.text}
        table.add(row)
    print(summary(pd.DataFrame(table.rows)))


if __name__ == "__main__":
    main()
