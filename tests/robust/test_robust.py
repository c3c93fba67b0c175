"""What may happen to a training from outside: one clear line, and the last good checkpoint is whole."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.fit import Keeping, fit
from supernet.pipeline.provenance import finished
from supernet.pipeline.steps import BATCH
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.loader import load
from tests.io.test_files import full_disk
from tests.tiny_training import Task, training

STEPS = 6
Act = Callable[[int], Any]


class Eventful(Task):
    """Something happens while the batch of a step is made."""

    def __init__(self, act: Act) -> None:
        self.act = act

    def batches(self, dataset: Any, steps: Iterator[Any]) -> Iterator[dict[str, Any]]:
        """The batches; ``act(number)`` comes before each, and what it returns is ``broken``."""
        for number, batch in enumerate(super().batches(dataset, steps)):
            yield {**batch, "corrupt": self.act(number) or []}


def go(folder: Path, act: Act = lambda number: None, **changes: Any) -> None:
    """Train, or go on."""
    keeping = Keeping(seconds=changes.pop("seconds", 0.0), resume=changes.pop("resume", True), max_corrupt=2)
    task: Any = Eventful(act)
    trainer, plan = training(STEPS)
    for name, value in changes.items():
        setattr(plan if name == "batch" else trainer, name, value)
    fit(folder, "tiny", trainer, plan, task, [], {"SEED": 1, BATCH: plan.batch}, {}, keeping)


def at(step: int, act: Callable[[], Any]) -> Act:
    """Do something at one step."""
    return lambda number: act() if number == step else None


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Those of an ended training."""
    found: dict[str, torch.Tensor] = torch.load(folder / "weights.pt")["state_dict"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a training that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    go(folder)
    return weights(folder)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a training that SIGTERM ended after its third step."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        go(folder, at(2, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert torch.load(folder / "checkpoint.pt")["trainer"]["done"] == 3
    assert torch.load(folder / "checkpoint.previous.pt")["trainer"]["done"] == 2
    return folder


def goes_on(folder: Path, whole: dict[str, torch.Tensor]) -> None:
    """The same command again ends with the weights of a training that nothing happened to."""
    go(folder)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(folder).items())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_after_the_step(tmp_path: Path, whole: dict[str, torch.Tensor], number: int) -> None:
    """With a checkpoint, though it is not time for one; the handlers are those of before."""
    handlers = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, at(3, lambda: os.kill(os.getpid(), number)), seconds=1e9)
    assert torch.load(tmp_path / "checkpoint.pt")["trainer"]["done"] == 4
    assert [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)] == handlers
    goes_on(tmp_path, whole)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "other"])
def test_a_damaged_checkpoint_falls_back(
    stopped: Path, whole: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """One bit is enough; the one before it is taken, with a warning."""
    newest = stopped / "checkpoint.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":  # killed between the two renames
        newest.unlink()
    elif damage == "other":
        torch.save({"state_dict": {}}, newest)
    else:
        newest.write_bytes({"flip": bytes(content), "cut": bytes(content[:-100]), "empty": b""}[damage])
    capsys.readouterr()
    goes_on(stopped, whole)
    out = capsys.readouterr().out
    warned = f"warning: {newest}: is not a checkpoint, or is damaged; going on from the one before it" in out
    assert warned == (damage != "gone")
    assert "going on from step 2 of 6" in out


def test_two_damaged_checkpoints(stopped: Path) -> None:
    """Nothing is trained over them."""
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (stopped / name).write_bytes(b"")
    with pytest.raises(
        UserError, match=r"checkpoint.pt: is not a checkpoint, or is damaged, and so is the one before; re"
    ):
        go(stopped)


def test_resuming_can_be_switched_off(
    stopped: Path, whole: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is trained again, and the log begins anew."""
    capsys.readouterr()
    go(stopped, resume=False)
    assert "going on" not in capsys.readouterr().out
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(stopped).items())


def test_another_number_of_images(stopped: Path) -> None:
    """As another number of processes would have it."""
    with pytest.raises(
        UserError, match=r"was made with TRAIN.IMAGES_PER_GPU x .* 4, now it is 8; start as many processes as"
    ):
        go(stopped, batch=8)


def test_full_disk(stopped: Path, whole: dict[str, torch.Tensor]) -> None:
    """The last checkpoint stays."""
    before = {path.name: path.read_bytes() for path in stopped.glob("*.pt")}
    with pytest.raises(UserError, match=r"checkpoint.pt: cannot be written: File too large; make room"), full_disk():
        go(stopped)
    assert before == {path.name: path.read_bytes() for path in stopped.glob("*.pt")}
    goes_on(stopped, whole)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Before anything is trained."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match="file/run: cannot be written: Not a directory; make room or set another OUTPUT"
    ):
        go(tmp_path / "file" / "run")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_place_that_nobody_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Not root either, for whom a folder without the permission would be none."""

    def refuse(path: str | Path, mode: int = 0o777) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(UserError, match=rf"run.*: cannot be written: {os.strerror(number)}; make room or "):
        go(tmp_path / "run")
    monkeypatch.undo()
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_lost_on_the_way(tmp_path: Path) -> None:
    """A file stands where the run folder was, as after a disk was taken away."""
    folder = tmp_path / "run"

    def lose() -> None:
        shutil.rmtree(folder)
        folder.write_text("")

    with pytest.raises(UserError, match="run.*cannot be written"):
        go(folder, at(2, lose))


def test_a_loss_that_is_no_number(stopped: Path, whole: dict[str, torch.Tensor]) -> None:
    """The checkpoint of the last good step stays."""
    corrupt = lambda batch: {**batch, "inputs": batch["inputs"] * torch.nan}  # noqa: E731
    with pytest.raises(UserError, match="loss is nan at step 3 .all.: lower TRAIN.LR"):
        go(stopped, prepare=corrupt)
    assert torch.load(stopped / "checkpoint.pt")["trainer"]["done"] == 3
    goes_on(stopped, whole)


@pytest.mark.parametrize("where", ["prepare", "network", "_update_average"])
def test_full_gpu_memory(stopped: Path, whole: dict[str, torch.Tensor], where: str) -> None:
    """Says with how many images of which size, and what helps; the checkpoint of the last good step stays."""

    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(
        UserError, match=r"full at step 3 .all. with 4 images of (8 x 8|12 x 12): lower TRAIN.IMAGES_PER_"
    ):
        go(stopped, **{where: full})
    assert torch.load(stopped / "checkpoint.pt")["trainer"]["done"] == 3
    goes_on(stopped, whole)


# ----------------------------------------------------------------------------------------------------- data workers


class Images:
    """Samples that are files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, request: tuple[int]) -> Any:
        return read_image(self.folder / f"{request[0]}.png")


def test_a_dataset_that_is_lost_on_the_way(stopped: Path, whole: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """As when a mount ends: one line, and with the folder back the training goes on from the last good step."""
    folder, away = tmp_path / "images", tmp_path / "away"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))

    def look(number: int) -> Any:
        if number == 1:
            folder.rename(away)
        (batch,) = load(Images(folder), 3, [[(0,)]], lambda samples: {}, workers=0, pin=False)
        return batch["corrupt"]

    with pytest.raises(UserError, match=r"^3 images one after another .*images/0\.png .*mount the folder again"):
        go(stopped, look)
    assert torch.load(stopped / "checkpoint.pt")["trainer"]["done"] == 4
    away.rename(folder)
    goes_on(stopped, whole)


class Deadly:
    """Samples whose worker is killed, as the system does when memory ends."""

    def __getitem__(self, request: tuple[Any, ...]) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def test_a_killed_data_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback of the loader's."""
    monkeypatch.setattr(
        Task, "batches", lambda *_: load(Deadly(), 3, [[(0,)]] * STEPS, lambda samples: {}, workers=1, pin=False)
    )
    with pytest.raises(
        UserError, match=r"DataLoader worker .* a process that loads images was killed.*set WORKERS low"
    ):
        go(tmp_path)


def test_a_finished_training_is_known_again(tmp_path: Path) -> None:
    """By its settings."""
    assert not finished(tmp_path, {"SEED": 1, BATCH: 4})
    go(tmp_path)
    assert finished(tmp_path, {"SEED": 1, BATCH: 4})
    with pytest.raises(UserError, match="was made with SEED 1, now it is 2"):
        finished(tmp_path, {"SEED": 2, BATCH: 4})


def test_going_on_is_quick(stopped: Path) -> None:
    """Seconds of this process from the call to the next step, beside the start of the program."""
    begun = time.process_time()
    taken: list[float] = []
    go(stopped, at(0, lambda: taken.append(time.process_time() - begun)))
    assert taken[0] < 10
    assert checkpoint.newest(stopped / "checkpoint.pt") == (None, "")
