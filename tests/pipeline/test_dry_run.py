"""``--dry-run``: what it says before, in the middle and after, and that it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search_spaces import litepose
from supernet.cli import search, train
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline import dry_run, inputs
from supernet.pipeline.keys import provenance
from supernet.pipeline.run import Run
from supernet.search.journal import Journal
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"


def make_run(tmp_path: Path, *overrides: object, cfg: Path = CFG) -> Run:
    small = (
        "OUTPUT_DIR", tmp_path / "output", "DATASET.ROOT", tmp_path / "data", "DATASET.SYNTHETIC.SIZE", "[64, 64]",
        "THREADS", 1, "DEVICE", "cpu", "TRAIN.IMAGES_PER_GPU", 2, "DATASET.FINAL_IMAGES", 50,
        "SEARCH.FINALISTS", 3,
    )  # fmt: skip
    return Run(load_config(cfg, [str(value) for value in (*small, *overrides)]), cfg)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "SAMPLE", 2)
    monkeypatch.setattr(dry_run, "STEPS", 1)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of the whole run, though two images are drawn; no file remains, neither here nor in the run folder."""
    dry_run.show_run(make_run(tmp_path), search=True)
    where, space, images, supernet, largest, kernel, width, search, finalists, *subnets, total = said(capsys)
    assert where.endswith("output/synthetic/litepose (dry run: nothing is done, nothing is written)")
    assert space == "space: litepose small, 18,063,360 architectures of 36.6 to 85.3 MMACs"
    parts = "750 to train on, 100 to search on, 50 for finalists, 64 to calibrate on, 200 to report on"
    assert images == f"images: {parts}"
    assert supernet == "  supernet, 3,400 steps of 2 in 3 stages: to do"
    assert largest.startswith("    stage 'largest': 300 steps, about ")
    assert kernel.startswith("    stage 'kernel depth expansion': 700 steps, about ")
    assert width.startswith("    stage 'width': 2,400 steps, about ")
    assert search.startswith("  search, 36 architectures by nsga2 and 36 at random: to do, about ")
    assert finalists.startswith("  finalists, at most 12 architectures scored again: to do, about ")
    assert len(subnets) == 4
    assert subnets[0].startswith("  subnet XS within 38 MMACs, 750 steps of retraining: to do, about ")
    assert total.startswith("about ") and total.endswith("in all, by a few steps and images on this machine")
    assert list(tmp_path.iterdir()) == []


SCORED: dict[str, Any] = {"made_with": {"weights": {}, "evaluation": {}}, "metrics": {}}


def test_in_the_middle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stage that a checkpoint is in; then the evaluated of a search, and the stages of a subnet."""
    run = make_run(tmp_path)
    folder, made_by = run.folder / "supernet", provenance(inputs.supernet_training(run))
    folder.mkdir(parents=True)
    checkpoint.save(folder / "checkpoint.pt", {"trainer": {"done": 350}, "settings": made_by})
    dry_run.show_run(run, search=False)
    _, _, images, supernet, largest, kernel, width, _ = said(capsys)
    assert images == "images: 750 to train on"
    assert supernet == "  supernet, 3,400 steps of 2 in 3 stages: 350 of 3,400 steps done"
    assert largest == "    stage 'largest': 300 of 300 steps done"
    assert kernel.startswith("    stage 'kernel depth expansion': 50 of 700 steps done, about ")
    assert width.startswith("    stage 'width': 2,400 steps, about ")

    checkpoint.save(folder / "weights.pt", {"state_dict": {}, "settings": made_by})
    journal = Journal(
        run.folder / "search" / "journal.jsonl", space=run.space.fingerprint, seed=0,
        settings=provenance(inputs.search(run, folder / "weights.pt")), to_json=run.family.to_json,
    )  # fmt: skip
    journal.add(run.space.largest, algorithm="nsga2", macs=1, metrics={"AP": 0.5}, seconds=1.0)
    journal.add(run.space.largest, algorithm="nsga2", macs=1, metrics={"AP": 0.5}, seconds=1.0, stage="final images")
    (run.folder / "subnets" / "XS").mkdir(parents=True)
    metrics = {
        "macs": 1,
        "params": 1,
        "stages": {stage: SCORED for stage in ("transferred", "calibrated", "retrained")},
    }
    (run.folder / "subnets" / "XS" / "metrics.json").write_text(json.dumps(metrics))
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    dry_run.show_run(run, search=True)
    _, _, _, supernet, search, finalists, smallest, *_ = said(capsys)
    assert supernet == "  supernet, 3,400 steps of 2 in 3 stages: done"
    assert search.startswith("  search, 36 architectures by nsga2 and 36 at random: 1 of 72 done, about ")
    assert finalists.startswith("  finalists, at most 12 architectures scored again: 1 done, about ")
    assert smallest.endswith("750 steps of retraining: transferred, calibrated, retrained done")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_the_programs_show_it_and_do_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "--cfg", CFG, "--dry-run", "OUTPUT_DIR", tmp_path / "output", "DATASET.ROOT", tmp_path / "data", "THREADS", 1,
        "TRAIN.IMAGES_PER_GPU", 1,
    ]  # fmt: skip
    search.main([*map(str, given), "DATASET.SYNTHETIC.SIZE", "[64, 64]"])
    assert "subnet XS within 38 MMACs" in "".join(said(capsys))
    arch = json.dumps(litepose.to_json(litepose.SMALL.smallest))
    (tmp_path / "arch.json").write_text(arch)
    train.main([*map(str, given), "--superconfig", str(tmp_path / "arch.json")])
    assert f"trained/{tmp_path.name} (dry run" in said(capsys)[0]
    assert list(tmp_path.iterdir()) == [tmp_path / "arch.json"]


def test_results_of_other_settings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path)
    made_by = provenance(inputs.supernet_training(run)) | {"TRAIN.LR": 0.5}
    checkpoint.save(run.folder / "supernet" / "weights.pt", {"state_dict": {}, "settings": made_by})
    dry_run.show_run(run, search=False)
    assert said(capsys)[3].endswith("was made with other settings (TRAIN.LR 0.5, now 0.004)")


def test_one_architecture_top_down_in_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps follow from the people of the sample: one or two on each of its images."""
    run = make_run(
        tmp_path, "RETRAIN.EPOCHS", 2, "DATASET.SYNTHETIC.MAX_PEOPLE", 1, "DATASET.SYNTHETIC.TRAIN", 50,
        "DATASET.SEARCH_IMAGES", 10, cfg=CFG.with_name("hrnet.yaml"),
    )  # fmt: skip
    dry_run.show_training(run, run.space.smallest, run.folder / "trained" / "x")
    where, cost, people, training, _ = said(capsys)
    assert where.startswith(f"{run.folder / 'trained' / 'x'} (dry run")
    assert cost.startswith("1 architecture of ") and people == "people: 40 to train on"
    assert training.startswith("  training, 40 steps: to do, about ")
    assert list(tmp_path.iterdir()) == []


def test_stages_that_would_be_refused_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, "SUPERNET.STAGES", "[{name: all, open: [width], steps: 1}]")
    with pytest.raises(UserError, match="would be searched but never trained"):
        dry_run.show_run(run, search=False)


@pytest.mark.parametrize(
    ("seconds", "words"), [(89, "89 seconds"), (90, "1.5 minutes"), (7_200, "2.0 hours"), (129_600, "1.5 days")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert dry_run._words(seconds) == words
