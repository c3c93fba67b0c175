"""What a GPU has to do as well as a CPU does: steps in every precision, sharing, calibration, latency, the programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from search_spaces import FAMILIES
from supernet import Supernet, calibrate
from supernet.cli import latency, train, transfer, valid
from supernet.config.loading import load_config
from supernet.cost.latency import LatencyModel, LatencyTable
from supernet.deploy.benchmark import place_of
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.keys import read
from supernet.pipeline.run import Run
from supernet.pipeline.steps import Optimisation
from supernet.pipeline.training import optimizer
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan
from supernet.training.trainer import Trainer
from tests import tiny_training
from tests.paths import ROOT
from tools.bench import gpu_step

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Repeatable kernels, and a float32 that is not TF32."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def outputs_of(answer: Any) -> list[Tensor]:
    """The outputs of a network, on the CPU."""
    return [output.cpu() for output in ([answer] if isinstance(answer, Tensor) else answer)]


# ------------------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("family", gpu_step.CASES)
@pytest.mark.parametrize("way", gpu_step.WAYS, ids=lambda way: way.name)
def test_a_supernet_learns(way: gpu_step.Way, family: str) -> None:
    """Plain, and in bfloat16 and float16 with channels-last and a fused optimiser: the first loss is the CPU's."""
    made, losses = gpu_step.CASES[family](), []
    plan = Plan([Phase("all", Sampler(made.space, "sandwich", 1), 6, lambda _: 1e-3)], 2, 2, seed=0)
    reference, batch = made.trainer(gpu_step.WAYS[0], torch.device("cpu")), made.batch(2, (64, 64), way, DEVICE)
    expected = reference.step(plan.step(0), [made.batch(2, (64, 64), gpu_step.WAYS[0], torch.device("cpu"))])["loss"]
    trainer = made.trainer(way, DEVICE)
    trainer.run(plan, iter([batch] * 6), lambda _, figures: losses.append(figures["loss"]) or True)
    assert losses[0] == pytest.approx(expected, rel=1e-4 if way.precision is None else 2e-2)
    assert losses[-1] < losses[0]
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    wide = [parameter for parameter in trainer.model.parameters() if parameter.dim() == 4 and min(parameter.shape) > 1]
    assert all(parameter.is_contiguous(memory_format=torch.channels_last) == way.fast for parameter in wide)


def tiny(precision: torch.dtype | None) -> tuple[Trainer[Any], Plan[Any]]:
    """A training of milliseconds with the optimiser that the programs use."""
    torch.manual_seed(0)
    supernet = Supernet(tiny_training.build, tiny_training.SPACE).float().to(DEVICE)

    def prepare(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.float().to(DEVICE) for name, tensor in batch.items()}

    plan = Plan([Phase("all", Sampler(tiny_training.SPACE, "sandwich", 1), 6, lambda _: 0.01)], 7, 4, seed=1)
    made = optimizer(supernet, read(Optimisation, load_config(None), batch=4))
    trainer: Trainer[Any] = Trainer(
        supernet, supernet, tiny_training.Criterion(), made, prepare, distillation="inplace", clip=1.0, ema=0.9,
        precision=precision, loss_scale=64.0,
    )  # fmt: skip
    return trainer, plan


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_a_stop_changes_nothing(tmp_path: Path, precision: torch.dtype | None) -> None:
    """Weights, averages, moments and loss scale go through a checkpoint file, which is read on the CPU."""
    whole, plan = tiny(precision)
    whole.run(plan, tiny_training.batches(plan.steps(0)), lambda step, _: True)
    part, plan = tiny(precision)
    part.run(plan, tiny_training.batches(plan.steps(0)), lambda step, _: step.number < 2)
    checkpoint.save(tmp_path / "x.pt", part.state_dict())
    rest, plan = tiny(precision)
    rest.load_state_dict(checkpoint.read(tmp_path / "x.pt"))
    rest.run(plan, tiny_training.batches(plan.steps(3)), lambda step, _: True)
    assert rest.done == whole.done == 6
    for name, tensor in whole.weights().items():
        torch.testing.assert_close(rest.weights()[name], tensor, rtol=1e-4, atol=1e-4)


def test_an_overflow_changes_no_weight() -> None:
    """In float16 with a fused optimiser."""
    trainer, plan = tiny(torch.float16)
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    (batch,) = map(trainer.prepare, tiny_training.batches(iter([plan.step(0)])))
    trainer.step(plan.step(0), [batch])
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))


def test_full_memory_is_one_line() -> None:
    """Of a process that may have little of it; the weights can be used afterwards."""
    made, way = gpu_step.CASES["litepose"](), gpu_step.WAYS[0]
    trainer, batch = made.trainer(way, DEVICE), made.batch(16, (256, 256), way, DEVICE)
    plan = Plan([Phase("all", Sampler(made.space), 1, lambda _: 1e-3)], 16, 16, seed=0)
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 2**26
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(DEVICE).total_memory)
    try:
        with pytest.raises(
            UserError, match="the GPU's memory is full at step 0 .all. with 16 images of .*: lower TRAIN"
        ):
            trainer.run(plan, iter([batch]), lambda *_: True)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    trainer.run(plan, iter([batch]), lambda *_: True)
    assert trainer.done == 1


# ------------------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize("family", ["litepose", "widehrnet", "hrnet"])
def test_an_extracted_network_is_the_supernets(family: str) -> None:
    """Difference 0.0, as on the CPU."""
    space, rng = FAMILIES[family].SPACES["small"], np.random.default_rng(0)
    supernet = Supernet(FAMILIES[family].build, space).to(DEVICE).eval()
    with torch.inference_mode():
        for _ in range(4):
            arch = space.sample(rng)
            images = torch.randn(2, 3, *arch.input_hw, generator=torch.Generator().manual_seed(0)).to(DEVICE)
            shared, own = (outputs_of(network) for network in (supernet(images, arch), supernet.extract(arch)(images)))
            assert [float((a - b).abs().max()) for a, b in zip(shared, own, strict=True)] == [0.0] * len(own)


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_those_of_the_cpu(family: str) -> None:
    """To a thousandth of the largest output, in float32."""
    arch = FAMILIES[family].SPACES["small"].smallest
    torch.manual_seed(0)
    network, images = FAMILIES[family].build(arch).eval(), torch.randn(2, 3, *arch.input_hw)
    with torch.inference_mode():
        expected = outputs_of(network(images))
        found = outputs_of(network.to(DEVICE)(images.to(DEVICE)))
    for mine, theirs in zip(found, expected, strict=True):
        assert float((mine - theirs).abs().max()) <= 1e-3 * float(theirs.abs().max())


def test_calibrated_statistics_are_those_of_the_cpu() -> None:
    """Pooled over batches of different sizes."""
    family = FAMILIES["litepose"]
    arch = family.SPACES["small"].smallest
    statistics = []
    for device in (torch.device("cpu"), DEVICE):
        torch.manual_seed(0)
        network = family.build(arch)
        batches = [torch.randn(count, 3, *arch.input_hw) + count for count in (4, 4, 2)]
        assert calibrate(network.to(device), (batch.to(device) for batch in batches)) == 10
        statistics.append({name: value.cpu() for name, value in network.state_dict().items() if "running" in name})
    for name, expected in statistics[0].items():
        torch.testing.assert_close(statistics[1][name], expected, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------ programs


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, list[str]]:
    """The demo's configuration with few images and steps: the run's folder, and the arguments that name it."""
    cfg = yaml.safe_load((ROOT / "experiments" / "synthetic" / "litepose.yaml").read_text())
    cfg |= {"DEVICE": DEVICE.type, "OUTPUT_DIR": str(tmp_path / "output"), "WORKERS": 1}
    cfg["DATASET"] |= {"ROOT": str(tmp_path / "data"), "SEARCH_IMAGES": 0, "CALIBRATION_IMAGES": 4}
    cfg["DATASET"]["SYNTHETIC"] |= {"TRAIN": 12, "VAL": 4, "SIZE": [128, 128]}
    stages = [
        {"name": "1", "open": [], "steps": 2},
        {"name": "2", "open": ["kernel", "depth", "expansion", "width"], "steps": 2},
    ]
    cfg["SUPERNET"] |= {"STAGES": [*stages, {"name": "3", "open": ["deconv_width"], "steps": 2}], "SORT_CHANNELS": True}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(cfg))
    return tmp_path / "output" / tmp_path.name / "run", ["--cfg", str(tmp_path / "run.yaml")]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_train_transfer_valid(run: tuple[Path, list[str]], precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In mixed precision; what is cut out is evaluated."""
    folder, arguments = run
    arguments += ["FP16.ENABLED", "true", "FP16.DTYPE", precision, "FP16.DYNAMIC_LOSS_SCALE", "true"]
    train.main(arguments)
    weights = checkpoint.read(folder / "supernet" / "weights.pt")["state_dict"]
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    arch = FAMILIES["litepose"].SPACES["small"].smallest
    small = folder / "small.json"
    small.write_text(json.dumps(FAMILIES["litepose"].to_json(arch)))
    transfer.main([*arguments, "--superconfig", str(small)])
    model = folder / "subnets" / "small" / "weights.pt"
    valid.main([*arguments, "--superconfig", str(small), "TEST.MODEL_FILE", str(model)])
    out = capsys.readouterr().out
    assert "difference to the supernet 0.0, calibrated on 4 images" in out and "AP50" in out


def test_two_processes(run: tuple[Path, list[str]]) -> None:
    """With statistics of both: by nccl where there are two GPUs, else by gloo on one."""
    folder, arguments = run
    backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(ROOT / "train.py"), *arguments, "MODEL.SYNC_BN", "true", "DIST_BACKEND", backend]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    weights = checkpoint.read(folder / "supernet" / "weights.pt")["state_dict"]
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


def test_a_latency_table(run: tuple[Path, list[str]], tmp_path: Path) -> None:
    """It says on which GPU it was measured, and predicts something for all."""
    out = tmp_path / "latency.json"
    latency.main([*run[1], "--measure", "8", "--check", "2", "--repeats", "5", "--out", str(out)])
    run = Run(load_config(Path(run[1][1]), []), Path(run[1][1]))
    table = LatencyTable.load(out, run.space.fingerprint)
    assert table.place == place_of(DEVICE, "eager", 1, 1)
    assert len(table.fitted) == 8 and len(table.checked) == 2
    codes = run.space.sample_codes(20, np.random.default_rng(1))
    assert (LatencyModel(run.build, run.space, table).predict(codes) > 0).all()
