"""Does a space have something to find? Six unlike architectures of equal MACs, each trained alone from several seeds.

A space is worth a search where two trainings of one architecture agree (correlation of the seeds at least 0.6) and architectures
differ by at least twice what seeds do. Every training is scored on the search split and on the test split: loss, mean OKS and
PCK@0.2. One thread; what was stopped goes on with the same command.

python -m tools.bench.space_gate --out <folder> DATASET.ROOT data/lspet
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from search_spaces.layers.convolutions import start_as_identity
from supernet.cost.cost_model import CostModel
from supernet.cost.macs import count
from supernet.search.near import near_macs
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, cosine
from supernet.training.trainer import Trainer
from tools.bench.photographs import CONFIGURATION, Photographs, Table, adam, as_text, train

STAGE_WIDTH = "backbone.stages[[]{}].width"


def unlike(space: Any) -> dict[str, Mapping[str, Any]]:
    """What is fixed for each of the six, by name: see :meth:`search_spaces.Space.restrict`."""
    options = [gene.options for gene in space.genes if gene.kind == "width"]
    widths = [{STAGE_WIDTH.format(i): part(all_) for i, all_ in enumerate(options)} for part in (_least, _most)]
    kernels: dict[str, Mapping[str, Any]] = {f"kernel {kernel}": {"kernel": [kernel]} for kernel in (3, 5, 7, 9)}
    return kernels | {"deep, narrow": {"depth": [4, 5], **widths[0]}, "shallow, wide": {"depth": [1, 2], **widths[1]}}


def _least(options: tuple[int, ...]) -> list[int]:
    return list(options[:1])


def _most(options: tuple[int, ...]) -> list[int]:
    return list(options[-1:])


def passes(run: Any, epochs: int) -> int:
    """Images that a training of so many epochs reads, in whole batches."""
    batch = int(run.cfg.TRAIN.IMAGES_PER_GPU)
    return round(epochs * len(run.train) / batch) * batch


def standalone(
    photographs: Photographs,
    build: Callable[[], nn.Module],
    name: str,
    seed: int,
    epochs: int,
    folder: Path,
    title: str,
) -> tuple[dict[str, float], int, float]:
    """Train one network from fresh weights.

    Args:
        photographs: the run.
        build: makes the network.
        name: of its architecture; another one is another training.
        seed: of the weights and of the images' order.
        epochs: passes over the training split.
        folder: of the training.
        title: of the progress bar.

    Returns:
        Its scores, the images it read, and minutes of processor time of this run of the program.
    """
    run, started = photographs.run, time.process_time()
    batch, lr = run.cfg.TRAIN.IMAGES_PER_GPU, run.cfg.TRAIN.LR
    steps = passes(run, epochs) // batch
    torch.manual_seed(seed)
    network = build().to(memory_format=torch.channels_last)
    start_as_identity(network)
    trainer: Trainer[Any] = Trainer(
        lambda images, _: network(images),
        network,
        run.task.loss,
        adam(network),
        run.task.prepare,
        depthwise_strips=True,
    )
    sampler = Sampler(run.space.restrict({kind: 1 for kind in run.space.kinds}), "single_path")
    plan = Plan([Phase("alone", sampler, steps, cosine(lr))], len(run.train), batch, seed)
    settings = {"arch": name, "seed": seed, "epochs": epochs, "lr": lr, "batch": batch}
    network.load_state_dict(train(photographs, folder, title, trainer, plan, settings))
    scores = {f"search_{name}": value for name, value in photographs.scores(network, photographs.search).items()}
    scores |= {f"test_{name}": value for name, value in photographs.scores(network, photographs.test).items()}
    return scores, passes(run, epochs), (time.process_time() - started) / 60


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """For each score: agreement of the seeds, deviation of architectures (of their means) and of seeds, and their ratio."""
    rows = []
    for score in [name for name in table.columns if name.startswith(("search_", "test_"))]:
        grid = table.pivot(index="name", columns="seed", values=score).dropna()
        if grid.shape[1] < 2 or len(grid) < 3:
            continue
        noise = float(np.sqrt(grid.var(axis=1, ddof=1).mean()))
        rows.append(
            {
                "score": score,
                "architectures": len(grid),
                "correlation of seeds": grid.corr().to_numpy()[0, 1],
                "deviation of architectures": grid.mean(axis=1).std(ddof=1),
                "deviation of seeds": noise,
                "ratio": grid.mean(axis=1).std(ddof=1) / noise if noise else np.inf,
                "range of architectures": np.ptp(grid.mean(axis=1).to_numpy()),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Train what the table lacks and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, default=CONFIGURATION)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings and of gate.csv")
    parser.add_argument("--budget", type=int, default=36_000_000, help="MACs (default 36,000,000)")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training split (default 3)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("overrides", nargs="*", help="KEY VALUE …")
    options = parser.parse_args()
    photographs = Photographs.of(options.cfg, ["THREADS", "1", *options.overrides])
    run = photographs.run
    table = Table(options.out / "gate.csv", ("name", "seed", "epochs"))
    chosen = {}
    for name, fixed in unlike(run.space).items():
        part = run.space.restrict(fixed)
        macs, rng = CostModel(run.build, part).macs, np.random.default_rng(0)
        ((chosen[name],),) = near_macs(part, macs, [options.budget], [1], rng)
    for seed in range(options.seeds):
        for name, arch in chosen.items():
            if table.find(name=name, seed=seed, epochs=options.epochs) is not None:
                continue
            folder = options.out / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}-{options.epochs}"
            text = as_text(run.family, arch)
            scores, images, minutes = standalone(
                photographs, partial(run.build, arch), text, seed, options.epochs, folder, f"{name}, seed {seed}"
            )
            cost = count(run.build(arch), (1, 3, *arch.input_hw))
            row = {"name": name, "seed": seed, "epochs": options.epochs, "images": images, "macs": cost.macs}
            row |= {"params": cost.params, **scores, "minutes": round(minutes, 1), "arch": text}
            table.add(row)
            print({key: value for key, value in row.items() if key != "arch"}, flush=True)
    found = pd.DataFrame(table.rows)
    found = found[found.epochs == options.epochs]
    print(found.drop(columns="arch").to_string(index=False))
    print(summary(found).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
