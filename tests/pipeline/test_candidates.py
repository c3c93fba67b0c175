"""What an architecture is worth: the same in this process and in another one, and a loss that means what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.io.files import sha256
from supernet.pipeline import candidates
from supernet.pipeline.candidates import Shipped, Worker, evaluate_of, losses_of, scores_of
from supernet.pipeline.cluster import leave
from supernet.pipeline.run import Run
from supernet.pipeline.scoring import Loss
from supernet.pipeline.train import load_supernet
from supernet.pipeline.training import new_supernet
from supernet.search.loop import one_by_one
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration with eight search images, and a supernet of fresh weights."""
    folder = tmp_path_factory.mktemp("candidates")
    content = yaml.safe_load(CFG.read_text())
    content["DATASET"] |= {
        "ROOT": str(folder / "data"), "SYNTHETIC": {"TRAIN": 16, "VAL": 2, "SIZE": [128, 128], "MAX_PEOPLE": 2},
        "SEARCH_IMAGES": 8, "CALIBRATION_IMAGES": 4,
    }  # fmt: skip
    content["TEST"] |= {"IMAGES_PER_GPU": 4, "DETECTION_THRESHOLD": 0.05}
    content |= {"OUTPUT_DIR": str(folder / "output"), "THREADS": 1}
    content["SEARCH"] |= {"HALVING": {"IMAGES": 7}}
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    torch.manual_seed(0)
    run = setting_of(folder / "run.yaml")
    weights = new_supernet(run).state_dict()
    checkpoint.save(folder / "weights.pt", {"state_dict": weights, "space": run.space.fingerprint})
    return folder / "run.yaml", folder / "weights.pt"


def setting_of(file: Path, *overrides: object) -> Run:
    """The setting of a file."""
    return Run(load_config(file, [str(value) for value in overrides]), file)


def drawn(run: Run, count: int) -> list[Any]:
    """Random architectures."""
    rng = np.random.default_rng(0)
    return [run.space.sample(rng) for _ in range(count)]


def exactly(metrics: Any) -> str:
    """Metrics to the last bit; NaN, the score of people of a size that nobody has, equals itself."""
    return json.dumps({name: float(number).hex() for name, number in metrics.items()})


def test_another_process_computes_what_this_one_does(run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shipped opens as the same data and weights, in another folder too; scores and losses are equal bit for bit."""
    file, source = run
    monkeypatch.chdir(file.parent)
    run = setting_of(file)
    supernet, archs = load_supernet(run, source), drawn(run, 2)
    sent = {}

    class Kept:
        def __init__(self, cluster: object, make: Any, shipped: Shipped) -> None:
            sent[shipped.kind] = make, shipped

        def map(self, archs: Any) -> Iterator[Any]:
            yield from ()

    monkeypatch.setattr(candidates, "Pool", Kept)
    elsewhere = setting_of(file, "SEARCH.BACKEND", "ray")
    assert not [*evaluate_of(elsewhere, supernet, source)([]), *losses_of(elsewhere, supernet, source)([])]
    monkeypatch.chdir("/")
    scores, losses = one_by_one(scores_of(run, supernet)), losses_of(run, supernet, source)
    for kind, evaluate in (("scores", scores), ("losses", losses)):
        make, shipped = sent[kind]
        assert shipped.digest == sha256(source)
        there = make(shipped)
        here = sorted((position, exactly(metrics)) for position, metrics, seconds in evaluate(archs) if seconds > 0)
        assert here == [(position, exactly(there(arch)[0])) for position, arch in enumerate(archs)]
        assert kind == "scores" or here[0][1] != here[1][1]  # fresh weights find nobody
        assert Path.cwd() == file.parent


def test_the_loss_is_a_mean_over_the_first_images(run: tuple[Path, Path]) -> None:
    """The size of the batches does not matter, the number of images does; the best and the worst are told apart."""
    file, source = run
    run = setting_of(file)
    supernet, archs = load_supernet(run, source), drawn(run, 1)

    def loss(*overrides: object) -> float:
        ((_, metrics, _),) = losses_of(setting_of(file, *overrides), supernet, source)(archs)
        assert set(metrics) == {"loss"}
        return float(metrics["loss"])

    whole = loss()
    assert 0 < whole < float("inf")
    assert loss("TEST.IMAGES_PER_GPU", 3) == pytest.approx(whole, rel=1e-5)
    assert loss("SEARCH.HALVING.IMAGES", 3) != pytest.approx(whole, rel=1e-3)
    assert loss("SEARCH.HALVING.IMAGES", 99) == loss("SEARCH.HALVING.IMAGES", 8)
    assert loss("DATASET.MAX_ROTATION", 90, "DATASET.FLIP", 1.0) == whole  # the images as they are


def test_a_search_by_the_loss_evaluates_it_on_every_search_image(run: tuple[Path, Path]) -> None:
    file, source = run
    by_loss, halved = setting_of(file, "SEARCH.SCORE", "loss"), setting_of(file, "SEARCH.HALVING.IMAGES", 8)
    supernet, archs = load_supernet(by_loss, source), drawn(by_loss, 1)
    ((_, expected, _),) = losses_of(halved, supernet, source)(archs)
    ((_, found, _),) = evaluate_of(by_loss, supernet, source)(archs)
    assert found == expected


def test_the_loss_of_a_person_in_a_box(tmp_path: Path) -> None:
    """Of a top-down network it is the loss of training, a mean over people, whatever the batch."""
    file = CFG.with_name("hrnet.yaml")
    data = ("SYNTHETIC.TRAIN", 8, "SYNTHETIC.VAL", 1, "SEARCH_IMAGES", 3, "CALIBRATION_IMAGES", 2, "ROOT", tmp_path)
    overrides = [f"DATASET.{item}" if not number % 2 else item for number, item in enumerate(data)]
    run = setting_of(file, *overrides, "SEARCH.SCORE", "loss", "THREADS", 1)
    torch.manual_seed(0)
    arch, supernet = run.space.smallest, new_supernet(run).eval()
    network = candidates.subnet(run, supernet, arch)
    found = [
        Loss(setting_of(file, *overrides, "TEST.IMAGES_PER_GPU", size), run.search)(network, arch) for size in (1, 9)
    ]
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-5) and found[0]["loss"] > 0
    assert scores_of(run, supernet)(arch)["loss"] == pytest.approx(found[0]["loss"], rel=1e-5)


def test_a_folder_that_a_machine_lacks_is_named(run: tuple[Path, Path], tmp_path: Path) -> None:
    """Relative paths begin where the program was started."""
    worker = Worker(setting_of(run[0]).cfg, run[0], tmp_path / "home", 1)
    with pytest.raises(UserError, match="home: No such file or directory; start the program in a folder that all"):
        worker.begin()


@pytest.fixture
def shut_down() -> Iterator[None]:
    """Whatever happens, no Ray is left behind."""
    yield
    leave()


@pytest.mark.cluster
def test_ray_evaluates_as_this_process_does(run: tuple[Path, Path], shut_down: None) -> None:
    """Scores and losses bit for bit, by two processes."""
    file, source = run
    run, elsewhere = setting_of(file), setting_of(file, "SEARCH.BACKEND", "ray", "RAY.WORKERS", 2)
    supernet, archs = load_supernet(run, source), drawn(run, 6)
    for function in (evaluate_of, losses_of):
        here, there = (
            sorted((position, exactly(metrics)) for position, metrics, _ in function(one, supernet, source)(archs))
            for one in (run, elsewhere)
        )
        assert here == there and len(here) == 6
