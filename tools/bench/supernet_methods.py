"""What does each method of training a supernet do, by itself? Supernets of equal image passes, paired by seed.

Every variant's name says in what it differs from ``today``; ``--against`` names the one that the others are compared with.
After the training, 30 fixed random architectures, the smallest and the largest are extracted, calibrated and scored by their loss
on the search split. One thread; what was stopped goes on with the same command.

python -m tools.bench.supernet_methods --out <folder> --seeds 3 DATASET.ROOT data/lspet
python -m tools.bench.supernet_methods --out <folder> --variants today identity --side 64 DATASET.ROOT data/lspet
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from search_spaces import Space
from search_spaces.layers.convolutions import start_as_identity
from supernet import Supernet
from supernet.cost.cost_model import CostModel
from supernet.sharing.calibration import calibrate
from supernet.training.lazy_adam import LazyAdam
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, cosine, over_phases
from supernet.training.stages import stages
from supernet.training.trainer import Trainer
from tools.bench.photographs import CONFIGURATION, Photographs, Table, adam, train


@dataclass(frozen=True)
class Method:
    """How a supernet is trained.

    Attributes:
        identity: residual branches begin with a last BatchNorm of weight 0.
        paths: architectures of an update, each on its share of the batch.
        coverage: probability of drawing an architecture with uniform cost.
        sandwich: largest, smallest and one more on the whole batch, a third of the steps.
        inplace: distillation from the largest, its weight; 0 is none.
        ramp: share of the steps over which that weight grows.
        staged: depth, kernel and expansion, then widths are opened one after another, from the largest network on.
        continuous: one curve over the stages, not one for each.
        floor: of the learning rate, as a share of its largest.
        ema: decay of the averaged weights, 0 for none.
        lazy: Adam leaves alone what was not drawn.
        ofa: once-for-all's way (Cai et al., ICLR 2020): the largest network first, for its share of the steps, which then teaches
            the stages, at a tenth of the rate.
    """

    identity: bool = False
    paths: int = 1
    coverage: float = 0.0
    sandwich: bool = False
    inplace: float = 0.0
    ramp: float = 0.0
    staged: bool = False
    continuous: bool = False
    floor: float = 0.01
    ema: float = 0.0
    lazy: bool = False
    ofa: bool = False


TODAY = Method()
STAGES = (
    ("largest", [], 0.15),
    ("kernel expansion depth", ["kernel", "expansion", "depth"], 0.35),
    ("width", ["*"], 0.5),
)
OFA_STAGES = (
    ("largest", [], 0.4),
    ("kernel", ["kernel"], 0.1),
    ("depth", ["kernel", "depth"], 0.1),
    ("expansion width", ["*"], 0.4),
)
METHODS = {
    "today": TODAY,
    "identity": Method(identity=True),
    "ema": Method(ema=0.99),
    "lazy": Method(lazy=True),
    "paths 2": Method(paths=2),
    "paths 4": Method(paths=4),
    "coverage": Method(coverage=0.5),
    "floor": Method(floor=0.1),
    "staged": Method(staged=True),
    "staged, one curve": Method(staged=True, continuous=True),
    "sandwich": Method(sandwich=True),
    "in place": Method(sandwich=True, inplace=1.0),
    "in place, ramp": Method(sandwich=True, inplace=1.0, ramp=0.5),
    "identity, ema": Method(identity=True, ema=0.99),
    "identity, paths 2": Method(identity=True, paths=2),
    "identity, paths 4": Method(identity=True, paths=4),
    "identity, coverage": Method(identity=True, coverage=0.5),
    "identity, lazy": Method(identity=True, lazy=True),
    "identity, floor": Method(identity=True, floor=0.1),
    "identity, in place, ramp": Method(identity=True, sandwich=True, inplace=1.0, ramp=0.5),
    "identity, sandwich": Method(identity=True, sandwich=True),
    "identity, staged": Method(identity=True, staged=True),
    "identity, staged, one curve": Method(identity=True, staged=True, continuous=True),
    "identity, ofa": Method(identity=True, ofa=True),
}


def trained(
    photographs: Photographs, space: Any, method: Method, seed: int, steps: int, folder: Path, title: str
) -> Any:
    """The supernet at the end of its training, in eval mode."""
    run, lr = photographs.run, photographs.run.cfg.TRAIN.LR
    torch.manual_seed(seed)
    supernet: Supernet[Any] = Supernet(run.build, space).to(memory_format=torch.channels_last)
    if method.identity:
        start_as_identity(supernet.network)
    steps = steps // 3 if method.sandwich else steps
    phases = _phases(run, space, method, steps, cosine(lr, final=method.floor))
    settings = {**asdict(method), "seed": seed, "steps": steps, "lr": lr, "space": space.fingerprint}
    if method.ofa:
        phases = [replace(phase, lr=cosine(lr if not number else lr / 10)) for number, phase in enumerate(phases)]
        plan = Plan(phases[:1], len(run.train), run.cfg.TRAIN.IMAGES_PER_GPU, seed)
        trainer = _trainer(run, supernet, method, steps, None)
        largest = train(photographs, folder / "largest", title, trainer, plan, settings | {"part": "largest"})
        supernet.load_state_dict(largest)
        phases = phases[1:]
    teacher = copy.deepcopy(supernet.network).eval() if method.ofa else None
    plan = Plan(phases, len(run.train), run.cfg.TRAIN.IMAGES_PER_GPU, seed)
    supernet.load_state_dict(
        train(photographs, folder, title, _trainer(run, supernet, method, steps, teacher), plan, settings)
    )
    return supernet.eval()


def _trainer(run: Any, supernet: Supernet[Any], method: Method, steps: int, teacher: Any) -> Trainer[Any]:
    kind: Any = "teacher" if teacher is not None else "inplace" if method.inplace else "none"
    return Trainer(
        supernet,
        supernet,
        run.task.loss,
        LazyAdam(supernet.parameters()) if method.lazy else adam(supernet),
        run.task.prepare,
        distillation=kind,
        distillation_weight=1.0 if teacher is not None else method.inplace,
        distillation_ramp=round(method.ramp * steps),
        teacher=teacher,
        share_batch=method.paths > 1,
        ema=method.ema,
        depthwise_strips=True,
    )


def _phases(run: Any, space: Any, method: Method, steps: int, curve: Any) -> list[Phase[Any]]:
    opened = [("all", space, 1.0)]
    if method.staged or method.ofa:
        shares = OFA_STAGES if method.ofa else STAGES
        wanted = stages(space, [{"name": name, "open": kinds} for name, kinds, _ in shares])
        opened = [(stage.name, stage.space, share) for stage, (_, _, share) in zip(wanted, shares, strict=True)]
    lengths = [round(share * steps) for *_, share in opened]
    curves = over_phases(curve, lengths) if method.continuous else [curve] * len(opened)
    sampling = "sandwich" if method.sandwich else "multi_path"
    return [
        Phase(
            name, Sampler(part, sampling, method.paths, cost=_costs(run, part, method), coverage=method.coverage), *rest
        )
        for (name, part, _), *rest in zip(opened, lengths, curves, strict=True)
    ]


def _costs(run: Any, space: Any, method: Method) -> Any:
    return CostModel(run.build, space).macs if method.coverage and space.size > 1 else None


def losses(photographs: Photographs, supernet: Supernet[Any], archs: Sequence[Any], calibration: int) -> list[float]:
    """Of each architecture, extracted and calibrated, on the search split."""
    batches, found = photographs.calibration[: max(1, calibration // 64)], []
    for arch in archs:
        network = supernet.extract(arch).to(memory_format=torch.channels_last)
        calibrate(network, batches)
        found.append(photographs.scores(network, photographs.search, poses=False)["loss"])
    return found


def summary(table: pd.DataFrame, against: str = "today") -> pd.DataFrame:
    """Each variant against one: means, and the paired difference of the mean loss with its 95 % interval."""
    rows, base = [], table[table.variant == against].set_index("seed")
    for variant, part in table.groupby("variant", sort=False):
        part = part.set_index("seed")
        row = {"variant": variant, "seeds": len(part), **part[["mean", "smallest", "largest"]].mean().to_dict()}
        seeds = [seed for seed in part.index if seed in base.index]
        change = (part.loc[seeds, "mean"] - base.loc[seeds, "mean"]).to_numpy()
        row["change"] = change.mean() if len(change) else np.nan
        if len(change) > 1 and variant != against:
            half = stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
            row |= {"low": change.mean() - half, "high": change.mean() + half}
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Train what the table lacks and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, default=CONFIGURATION)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings and of methods.csv")
    parser.add_argument("--variants", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--against", default="today", choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=700, help="single-path steps; a sandwich has a third (default 700)"
    )
    parser.add_argument("--side", type=int, default=0, help="train on square inputs of so many pixels instead")
    parser.add_argument("--architectures", type=int, default=30)
    parser.add_argument("--calibration", type=int, default=128, help="images (default 128)")
    parser.add_argument("overrides", nargs="*", help="KEY VALUE …")
    options = parser.parse_args()
    photographs = Photographs.of(options.cfg, ["THREADS", "1", *options.overrides])
    if options.side:
        tree = photographs.run.space.tree
        photographs.run.__dict__["space"] = Space(replace(tree, resolution=(options.side, options.side)))
    space = photographs.run.space
    codes = space.sample_codes(options.architectures, np.random.default_rng(0))
    archs = [*(space.decode(code) for code in codes), space.smallest, space.largest]
    table = Table(options.out / "methods.csv", ("variant", "seed", "steps", "side"))
    side = space.smallest.input_hw[0]
    for seed in range(options.seeds):
        for variant in options.variants:
            key = {"variant": variant, "seed": seed, "steps": options.steps, "side": side}
            if table.find(**key) is not None:
                continue
            folder = options.out / f"{variant.replace(', ', '-').replace(' ', '-')}-{seed}-{options.steps}-{side}"
            started = time.process_time()
            method = METHODS[variant]
            supernet = trained(photographs, space, method, seed, options.steps, folder, f"{variant}, seed {seed}")
            found = losses(photographs, supernet, archs, options.calibration)
            row = {**key, "mean": float(np.mean(found[:-2])), "smallest": found[-2], "largest": found[-1]}
            row |= {"minutes": round((time.process_time() - started) / 60, 1)}
            row |= {f"loss {number}": loss for number, loss in enumerate(found[:-2])}
            table.add(row)
            print({name: value for name, value in row.items() if not name.startswith("loss")}, flush=True)
    if not table.rows:
        return
    found = pd.DataFrame(table.rows)
    found = found[(found.steps == options.steps) & (found.side == side)]
    print(summary(found, options.against).to_string(index=False, float_format="{:.5f}".format))


if __name__ == "__main__":
    main()
