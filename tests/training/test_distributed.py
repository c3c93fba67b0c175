"""Several processes train as one does on the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from supernet import Supernet, calibrate
from supernet.distributed import SynchronisedBatchNorm, any_process, average, average_gradients
from supernet.errors import UserError
from supernet.pipeline.process_group import ProcessGroup
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, cosine
from supernet.training.trainer import NotFiniteError, Trainer
from tests.clean_processes import run_clean
from tests.tiny_training import SPACE, Arch, Criterion, batches, build

STEPS = 5


def frozen(arch: Arch) -> nn.Module:
    """The same network, whose BatchNorm keeps to its running statistics in training."""
    network = build(arch)
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            module.train(False)
            module.train = lambda _=True, norm=module: norm  # type: ignore[method-assign]
    return network


def train(
    rank: int, size: int, *, make: Callable[[Arch], nn.Module] = build, accumulate: int = 1, alike: bool = True,
    optimizer: Any = torch.optim.Adam, nan_on: int = -1,
) -> dict[str, Any]:  # fmt: skip
    """Weights and losses of five steps of a sandwich, the share of one process of ``size``."""
    torch.manual_seed(0)
    supernet = Supernet(make, SPACE)
    plan = Plan([Phase("all", Sampler(SPACE, "sandwich", 2), STEPS, cosine(0.01))], 7, 8, 1, rank, alike)
    trainer: Trainer[Arch] = Trainer(
        supernet, supernet, Criterion(), optimizer(supernet.parameters(), lr=1.0), dict,
        distillation="inplace", clip=0.5, ema=0.9, accumulate=accumulate, sync_bn=make is build,
    )  # fmt: skip
    losses: list[float] = []
    parts = (step.part(rank, size).part(index, accumulate) for step in plan.steps(0) for index in range(accumulate))
    made = batches(parts)
    if rank == nan_on:
        made = ({name: tensor * torch.nan for name, tensor in batch.items()} for batch in made)
    trainer.run(plan, made, lambda _, figures: losses.append(figures["loss"]) or True)  # type: ignore[func-returns-value]
    return {"weights": trainer.weights(), "losses": losses}


def _member(rank: int, size: int, folder: Path, work: Callable[[int, int], Any]) -> None:
    distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    torch.save(work(rank, size), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def together(folder: Path, work: Callable[[int, int], Any], size: int = 2) -> list[Any]:
    """What every one of some processes returns from ``work(rank, size)``, which is pickled."""
    assert run_clean(_member, *((rank, size, folder, work) for rank in range(size))) == [0] * size
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


def apart(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """The largest difference of two sets of weights."""
    assert list(first) == list(second)
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


@pytest.mark.parametrize(("make", "size", "accumulate"), [(build, 2, 1), (frozen, 2, 1), (frozen, 2, 2), (build, 4, 1)])
def test_processes_train_as_one(tmp_path: Path, make: Callable[[Arch], nn.Module], size: int, accumulate: int) -> None:
    """BatchNorm synchronised or frozen: weights, running statistics, averages and losses of one process, to 1e-10."""
    single = train(0, 1, make=make)
    for found in together(tmp_path, partial(train, make=make, accumulate=accumulate), size):
        assert apart(found["weights"], single["weights"]) < 1e-10
        assert found["losses"] == pytest.approx(single["losses"], rel=1e-6)


def test_unsynchronised_statistics_are_another_training(tmp_path: Path) -> None:
    """The comparison above can fail: without the exchange of statistics the weights differ."""
    single = train(0, 1)
    for found in together(tmp_path, partial(train, make=partial(build))):
        assert apart(found["weights"], single["weights"]) > 1e-4


def test_different_architectures_on_every_process(tmp_path: Path) -> None:
    """They are other ones than one process draws, and the weights stay the same everywhere."""
    first, second = together(tmp_path, partial(train, make=frozen, alike=False))
    assert apart(first["weights"], second["weights"]) == 0.0
    assert first["losses"] == second["losses"]
    assert apart(first["weights"], train(0, 1, make=frozen)["weights"]) > 1e-6


def gradients(rank: int, size: int) -> dict[str, Tensor]:
    """The architecture and the gradients of one step."""
    torch.manual_seed(0)
    supernet = Supernet(build, SPACE)
    plan = Plan([Phase("all", Sampler(SPACE, "single_path"), STEPS, cosine(0.01))], 7, 8, 5, rank, alike=False)
    step = plan.step(0)
    trainer: Trainer[Arch] = Trainer(
        supernet, supernet, Criterion(), torch.optim.SGD(supernet.parameters(), lr=1.0), dict
    )
    supernet.train()
    trainer.step(step, batches(iter([step.part(rank, size)])))
    return {
        "architecture": torch.tensor(SPACE.encode(step.architectures[0])),
        **{name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in supernet.named_parameters()},
    }


def test_different_architectures_give_the_mean_of_their_gradients(tmp_path: Path) -> None:
    """Of one step of two processes: what each finds alone, where a weight that an architecture lacks counts as zero."""
    single = [gradients(rank, 2) for rank in range(2)]
    assert not torch.equal(single[0].pop("architecture"), single[1].pop("architecture"))
    only_one = [name for name in single[0] if not torch.equal(single[0][name] != 0, single[1][name] != 0)]
    assert only_one  # one is wider, the other has the larger kernel
    for found in together(tmp_path, gradients):
        assert apart({name: found[name] for name in single[0]}, {
            name: (gradient + single[1][name]) / 2 for name, gradient in single[0].items()
        }) < 1e-12  # fmt: skip


def statistics(rank: int, size: int, counts: tuple[int, ...]) -> dict[str, Tensor]:
    """Running statistics after a calibration with batches of so many images, of which this process has its part."""
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.normal(n, 1 + n, (count, 3, 8, 8))) for n, count in enumerate(counts)]
    torch.manual_seed(0)
    network, mine = build(SPACE.largest), torch.cat(images)[ProcessGroup(rank, size).part(sum(counts), 8)]
    assert calibrate(network, mine.split(8) if len(mine) else []) == sum(counts)
    return {name: tensor for name, tensor in network.state_dict().items() if "running" in name}


@pytest.mark.parametrize(("size", "counts"), [(2, (8, 8, 4)), (4, (8, 8))])
def test_calibration_pools_over_processes(tmp_path: Path, size: int, counts: tuple[int, ...]) -> None:
    """Statistics of one process over all batches, to 1e-12, though some process has fewer of them or none."""
    single = statistics(0, 1, counts)
    for found in together(tmp_path, partial(statistics, counts=counts), size):
        assert apart(found, single) < 1e-12


def without_images(rank: int, size: int) -> str:
    """The line that a calibration ends with."""
    with pytest.raises(UserError) as caught:
        calibrate(build(SPACE.largest), [])
    return str(caught.value)


def test_nobody_has_a_calibration_image(tmp_path: Path) -> None:
    """Every process says so."""
    lines = together(tmp_path, without_images)
    assert lines == ["no calibration image: set DATASET.CALIBRATION_IMAGES to at least 1"] * 2


def not_finite(rank: int, size: int) -> str:
    """The line that a training ends with in which the second process meets NaN."""
    with pytest.raises(NotFiniteError) as caught:
        train(rank, size, make=frozen, nan_on=1)
    return str(caught.value)


def test_a_loss_that_is_no_number_stops_all(tmp_path: Path) -> None:
    """In the second process alone: both end with the same line."""
    lines = together(tmp_path, not_finite)
    assert lines[0] == lines[1]
    assert lines[0].startswith("loss is nan at step 0 (all): lower TRAIN.LR")


def exchanged(rank: int, size: int) -> list[Any]:
    """Least and largest of each averaged gradient, the mean rank, and whether the second process, or any, said yes."""
    parameters = [nn.Parameter(torch.zeros(shape, dtype=kind)) for shape, kind in (
        ((2, 3), torch.float32), ((4,), torch.float64), ((1,), torch.float32), ((1 << 22,), torch.float32),
        ((1 << 22,), torch.float32), ((1 << 22,), torch.float32),
    )]  # fmt: skip
    for index in (0, 3, 4, 5):
        parameters[index].grad = torch.full_like(parameters[index], rank + index)
    if rank == 1:
        parameters[1].grad = torch.ones_like(parameters[1])
    average_gradients(parameters)
    seen = [None if p.grad is None else (float(p.grad.min()), float(p.grad.max())) for p in parameters]
    return [seen, float(average(torch.tensor(float(rank)))), any_process(rank == 1), any_process(False)]


def test_missing_gradients(tmp_path: Path) -> None:
    """A gradient of one process counts as half; one of nobody stays away; big ones and other types travel as well."""
    for seen, mean, somewhere, nowhere in together(tmp_path, exchanged):
        assert seen == [(0.5, 0.5), (0.5, 0.5), None, (3.5, 3.5), (4.5, 4.5), (5.5, 5.5)]
        assert (mean, somewhere, nowhere) == (0.5, True, False)


def test_alone_nothing_changes() -> None:
    """Without a process group."""
    network, images = build(SPACE.largest), torch.randn(4, 3, 8, 8, dtype=torch.float64)
    expected = network(images)
    with SynchronisedBatchNorm():
        assert torch.equal(network(images), expected)
    assert average(torch.tensor(3.0)) == 3.0
    assert any_process(True) and not any_process(False)


def test_parts_of_a_step() -> None:
    """They add up to the whole, keep their places, and have to be equal."""
    step = Plan([Phase("all", Sampler(SPACE), 2, cosine(0.1))], 7, 8, 1).step(1)
    parts = [step.part(rank, 2).part(index, 2) for rank in range(2) for index in range(2)]
    assert sum((part.images for part in parts), ()) == step.images
    assert [part.offset for part in parts] == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="8 images cannot be parted into 3"):
        step.part(0, 3)
