"""What the processes that torchrun starts share in the programs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import litepose
from supernet.cli import transfer
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline import training
from supernet.pipeline.corrupt_images import CorruptImages
from supernet.pipeline.keys import read
from supernet.pipeline.process_group import SINGLE_PROCESS, ProcessGroup, process_group
from supernet.pipeline.run import Run
from supernet.pipeline.steps import SupernetTraining
from supernet.pipeline.train import check_synchronised
from supernet.pipeline.training import new_supernet
from tests.clean_processes import run_clean
from tests.training.test_distributed import apart, together


def launched(work: Callable[[], Any], size: int = 2) -> None:
    """Do something, which is pickled, in some processes that find themselves where torchrun would have put them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert run_clean(_member, *((rank, size, port, work) for rank in range(size))) == [0] * size


def _member(rank: int, size: int, port: int, work: Callable[[], Any]) -> None:
    where = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in where.items()}
    work()


def test_shares_of_a_dataset() -> None:
    """Whole batches, every image once."""
    for images, batch, size in ((20, 8, 2), (3, 8, 4), (64, 8, 3), (1, 1, 1)):
        parts = [list(range(images))[ProcessGroup(rank, size).part(images, batch)] for rank in range(size)]
        assert sum(parts, []) == list(range(images))
        assert all(part[0] % batch == 0 for part in parts if part)


def left_alone(file: Path) -> None:
    """The second process ends, and the first writes down with which line it then does."""
    with pytest.raises(UserError) as caught, process_group() as processes:
        processes.meet()
        if processes.rank == 1:
            os._exit(0)
        processes.meet()
    file.write_text(str(caught.value))


def test_another_process_that_has_ended_is_one_line(tmp_path: Path) -> None:
    """Not the traceback of the library that waits for it."""
    launched(partial(left_alone, tmp_path / "line"))
    assert (tmp_path / "line").read_text() == "another process of this program has ended; its own message says why"


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    """Settings of a run with nine small images."""
    (tmp_path / "x.yaml").write_text(
        f"OUTPUT_DIR: {tmp_path}/output\nDATASET: {{ROOT: {tmp_path}/data, SYNTHETIC: {{TRAIN: 9, VAL: 1, SIZE: [64, 64]}}, "
        "SEARCH_IMAGES: 0, CALIBRATION_IMAGES: 9}\nSPACE: {NAME: small}\nTRAIN: {IMAGES_PER_GPU: 2}\nDEVICE: cpu\n"
    )
    return tmp_path / "x.yaml"


def test_two_processes_calibrate_what_is_cut_out(cfg: Path, tmp_path: Path) -> None:
    """weight_transfer.py by two processes writes the weights and statistics of one, to 1e-6, and the same certificate."""
    run = Run(load_config(cfg), cfg)
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "super.pt", {"state_dict": new_supernet(run).state_dict()})
    (tmp_path / "S.json").write_text(json.dumps(litepose.to_json(run.space.smallest)))
    arguments = ["--cfg", cfg, "--superconfig", tmp_path / "S.json"]
    arguments += ["TEST.MODEL_FILE", tmp_path / "super.pt", "OUTPUT_DIR"]
    transfer.main([str(argument) for argument in (*arguments, tmp_path / "one")])
    launched(partial(transfer.main, [str(argument) for argument in (*arguments, tmp_path / "two")]))
    one, two = (next((tmp_path / name).rglob("weights.pt")).parent for name in ("one", "two"))
    assert (one / "certificate.json").read_text() == (two / "certificate.json").read_text()
    weights = [checkpoint.read(folder / "weights.pt")["state_dict"] for folder in (one, two)]
    names = [name for name in weights[0] if not name.endswith("num_batches_tracked")]
    assert apart(*({name: each[name] for name in names} for each in weights)) < 1e-6


def met(rank: int, size: int) -> list[Any]:
    """What was counted when, and the line at which a process ends."""
    images = [[["a.jpg"], [], ["old.jpg", "b.jpg"]], [["a.jpg"], ["b.jpg"], ["c.jpg"]]][rank]
    corrupt, counted = CorruptImages(3, ["old.jpg"], ProcessGroup(rank, size)), []
    with pytest.raises(UserError) as caught:
        for batch in corrupt.without({"images": number, "corrupt": lines} for number, lines in enumerate(images)):
            corrupt.count()
            counted.append((batch, list(corrupt.lines)))
    return [counted, str(caught.value)]


def test_corrupt_images_are_counted_over_processes(tmp_path: Path) -> None:
    """What two processes meet, and one of before a stop, is distinct images of one list, at which both end."""
    for counted, line in together(tmp_path, met):
        assert counted == [({"images": 0}, ["old.jpg", "a.jpg"]), ({"images": 1}, ["old.jpg", "a.jpg", "b.jpg"])]
        assert line == ("4 training images cannot be read, DATASET.MAX_BROKEN allows 3: old.jpg; a.jpg; b.jpg; c.jpg")


@pytest.mark.parametrize(
    ("key", "value"), [("SUPERNET.RANK_ARCHITECTURES", "different"), ("SUPERNET.SAMPLING", "best_up")]
)
def test_different_networks_cannot_share_statistics(cfg: Path, key: str, value: str) -> None:
    """Refused where several processes run different networks of a supernet; one process alone may do as it likes."""
    run = Run(load_config(cfg, ["MODEL.SYNC_BN", "true", key, value]), cfg)
    check_synchronised(run, SINGLE_PROCESS)
    with pytest.raises(UserError, match=f"MODEL.SYNC_BN wants the same networks everywhere: set {key}"):
        check_synchronised(run, ProcessGroup(0, 2))


@pytest.mark.parametrize(
    ("schedule", "rates"), [("multi_step", [0.01, 0.5, 1.0, 0.1, 0.01]), ("cosine", [0.01, 0.5, 1.0, 0.3156, 0.0477])]
)
def test_the_schedule_of_a_stage(cfg: Path, schedule: str, rates: list[float]) -> None:
    """Linear warm-up over WARMUP of it, then TRAIN.LR_STEP of END_EPOCH, or half a cosine down to a hundredth."""
    keys = ["SUPERNET.SCHEDULE", schedule, "SUPERNET.WARMUP", "0.2", "TRAIN.LR_STEP", "[70, 90]"]
    given = dict.fromkeys(("space", "data", "samples", "optimisation", "pretrained", "teacher"))
    settings = read(SupernetTraining, load_config(cfg, [*keys, "TRAIN.END_EPOCH", "100"]), **given)
    curve = training.curve(settings, 1.0)
    assert [curve(progress) for progress in (0.0, 0.1, 0.2, 0.7, 0.9)] == pytest.approx(rates, abs=1e-4)
