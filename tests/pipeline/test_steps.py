"""What a result was made with: all that it depends on, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from yacs.config import CfgNode

from supernet.cli import train
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline import inputs, keys, parts, steps
from supernet.pipeline.provenance import Made
from supernet.pipeline.run import Run
from supernet.pipeline.standalone import train_standalone
from supernet.search.journal import differences
from tests.paths import ROOT
from tests.tiny_run import configured

BOTTOM_UP, TOP_DOWN = (ROOT / "experiments" / "synthetic" / f"{name}.yaml" for name in ("litepose", "hrnet"))
#: Keys that a training reads and that are no inputs of it, each with another value.
INDIFFERENT = (
    ("DATASET.ROOT", "elsewhere"),
    ("DATA_DIR", "."),
    ("OUTPUT_DIR", "elsewhere"),
    ("WORKERS", "1"),
    ("THREADS", "1"),
    ("DEVICE", "cpu"),
    ("TEST.IMAGES_PER_GPU", "7"),
    ("TEST.METRIC_BACKEND", "faster"),
    ("DATASET.MAX_BROKEN", "3"),
    ("CHECKPOINT_SECONDS", "5"),
    ("AUTO_RESUME", "false"),
    ("CHANNELS_LAST", "false"),
    ("DATASET.CALIBRATION_IMAGES", "5"),
    ("DATASET.SYNTHETIC.VAL", "5"),
    ("SEARCH.EVALUATIONS", "3"),
    ("RETRAIN.EPOCHS", "3"),
    ("TRAIN.WD", "0.5"),  # of adamw and sgd
    ("TRAIN.MOMENTUM", "0.5"),
)


def run_of(cfg: Path, *overrides: str) -> Run:
    return Run(load_config(cfg, overrides), cfg)


def made_with(cfg: Path, *overrides: str) -> dict[str, Any]:
    return keys.provenance(inputs.supernet_training(run_of(cfg, *overrides)))


@pytest.mark.parametrize("cfg", [BOTTOM_UP, TOP_DOWN], ids=["bottom-up", "top-down"])
@pytest.mark.parametrize(("key", "value"), INDIFFERENT)
def test_what_changes_nothing_is_no_input(cfg: Path, key: str, value: str) -> None:
    assert made_with(cfg, key, value) == made_with(cfg)


@pytest.mark.parametrize(
    ("cfg", "key", "value", "name"),
    [
        (BOTTOM_UP, "SUPERNET.EMA", "0.9", "SUPERNET.EMA"),
        (BOTTOM_UP, "SUPERNET.CLIP_GRADIENT", "0.5", "SUPERNET.CLIP_GRADIENT"),
        (BOTTOM_UP, "DATASET.TAG_RADIUS", "1", "DATASET.TAG_RADIUS"),
        (BOTTOM_UP, "DATASET.SYNTHETIC.SEED", "1", "DATASET.SYNTHETIC.SEED"),
        (BOTTOM_UP, "DATASET.SEARCH_IMAGES", "7", "DATASET.SEARCH_IMAGES"),
        (BOTTOM_UP, "TRAIN.IMAGES_PER_GPU", "3", steps.BATCH),
        (BOTTOM_UP, "FP16.ENABLED", "true", "FP16.DTYPE"),
        (TOP_DOWN, "MODEL.SIGMA", "3.5", "MODEL.SIGMA"),
        (TOP_DOWN, "DATASET.ROT_FACTOR", "11", "DATASET.ROT_FACTOR"),
    ],
)
def test_what_changes_the_weights_is_an_input(cfg: Path, key: str, value: str, name: str) -> None:
    assert name in differences(made_with(cfg), made_with(cfg, key, value))


@pytest.mark.parametrize(
    ("cfg", "key"),
    [
        (TOP_DOWN, "DATASET.TAG_RADIUS"),
        (TOP_DOWN, "LOSS.PUSH_LOSS_FACTOR"),
        (TOP_DOWN, "DATASET.INPUT_SIZE"),
        (BOTTOM_UP, "MODEL.SIGMA"),
        (BOTTOM_UP, "LOSS.USE_OHKM"),
    ],
)
def test_keys_of_the_other_approach_are_no_inputs(cfg: Path, key: str) -> None:
    assert key not in made_with(cfg)


def test_a_search_by_the_loss_depends_on_what_the_loss_is(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")

    def searched(*overrides: str) -> dict[str, Any]:
        return keys.provenance(inputs.search(run_of(BOTTOM_UP, *overrides), tmp_path / "weights.pt"))

    foreground = ("LOSS.FOREGROUND_WEIGHT", "3")
    assert searched() == searched(*foreground) and "SEARCH.SCORE" not in searched()
    loss = ("SEARCH.SCORE", "loss")
    assert set(differences(searched(*loss), searched(*loss, *foreground))) == {"LOSS.FOREGROUND_WEIGHT"}
    assert set(differences(searched(*loss), searched("SEARCH.SCORE", "mOKS"))) >= {"SEARCH.SCORE"}


def test_images_of_a_step_count_as_their_product() -> None:
    """Which is what the message about a full GPU advises to keep."""
    one = made_with(BOTTOM_UP, "TRAIN.IMAGES_PER_GPU", "8", "TRAIN.ACCUMULATE", "2")
    assert one == made_with(BOTTOM_UP, "TRAIN.IMAGES_PER_GPU", "4", "TRAIN.ACCUMULATE", "4")
    assert one[steps.BATCH] == 16


def test_every_input_is_a_json_value() -> None:
    for cfg in (BOTTOM_UP, TOP_DOWN):
        run = run_of(cfg)
        made = keys.provenance(inputs.network_training(run, run.space.smallest, initial=None))
        assert json.loads(json.dumps(made)) == made
        assert "" not in made and made["architecture"] == run.family.to_json(run.space.smallest)


def test_every_key_is_of_the_schema() -> None:
    """A field that names a key of the configuration names one that there is, and is read from it."""
    cfg = load_config(None)
    for step in (
        value
        for value in (*vars(steps).values(), *vars(parts).values())
        if isinstance(value, type) and hasattr(value, "__dataclass_fields__")
    ):
        for item in step.__dataclass_fields__.values():
            if "when" in item.metadata:
                assert not isinstance(keys.value_of(cfg, item.metadata["key"]), CfgNode)


# ---------------------------------------------------------------------------------------------------------- in use


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Arguments of train.py, and the folder of a network that it has trained for one step."""
    folder = tmp_path_factory.mktemp("steps")
    arguments = [*configured(folder), "RETRAIN.EPOCHS", "1", "--superconfig", str(folder / "arch.json")]
    run = Run(load_config(folder / "run.yaml"), folder / "run.yaml")
    (folder / "arch.json").write_text(json.dumps(run.family.to_json(run.space.smallest)))
    train.main(arguments)
    return arguments, folder


@pytest.mark.parametrize(
    ("key", "value"), [("SUPERNET.EMA", "0.9"), ("SUPERNET.CLIP_GRADIENT", "0.1"), ("RETRAIN.LR", "0.5")]
)
def test_other_settings_do_not_get_the_old_weights(trained: tuple[list[str], Path], key: str, value: str) -> None:
    arguments, _ = trained
    with pytest.raises(UserError, match=f"was made with {key} "):
        train.main([*arguments, key, value])


def test_a_retrained_network_remembers_how_it_was_distilled(trained: tuple[list[str], Path]) -> None:
    _, folder = trained
    run = Run(load_config(folder / "run.yaml", ["SUPERNET.DISTILLATION_WEIGHT", "0.25"]), folder / "run.yaml")
    step = inputs.network_training(run, run.space.smallest, initial=None, teacher="a supernet")
    assert keys.provenance(step)["SUPERNET.DISTILLATION_WEIGHT"] == 0.25
    alone = inputs.network_training(run, run.space.smallest, initial=None)
    assert "SUPERNET.DISTILLATION_WEIGHT" not in keys.provenance(alone)


def test_what_changes_nothing_leaves_finished_weights(
    trained: tuple[list[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also data that lies elsewhere now."""
    arguments, folder = trained
    run = Run(load_config(folder / "run.yaml"), folder / "run.yaml")
    (weights,) = (run.folder / "trained").rglob("weights.pt")
    before = weights.stat().st_mtime_ns
    root = Path(run.cfg.DATASET.ROOT)
    shutil.copytree(root, tmp_path / "moved")
    train.main(
        [
            *arguments,
            "DATASET.ROOT",
            str(tmp_path / "moved"),
            "TEST.IMAGES_PER_GPU",
            "1",
            "TEST.METRIC_BACKEND",
            "faster",
        ]
    )
    assert weights.stat().st_mtime_ns == before
    assert "DATASET.ROOT" in capsys.readouterr().out  # the next command keeps what was given


def test_other_annotations_are_other_data(trained: tuple[list[str], Path], tmp_path: Path) -> None:
    """Files are known by their content: the same annotations elsewhere are the same, others in their place are not."""
    _, folder = trained
    root = Path(load_config(folder / "run.yaml").DATASET.ROOT)
    run = Run(load_config(folder / "run.yaml"), folder / "run.yaml")
    name = run.data.root.name
    shutil.copytree(root / name, tmp_path / "copy")
    own = ["DATASET.SYNTHETIC.TRAIN", "0"]

    def data(place: Path) -> dict[str, Any]:
        cfg = load_config(folder / "run.yaml", [*own, "DATASET.ROOT", str(place)])
        return keys.provenance(Run(cfg, folder / "run.yaml").training_data)

    assert data(root / name) == data(tmp_path / "copy")
    annotations = Run(
        load_config(folder / "run.yaml", [*own, "DATASET.ROOT", str(tmp_path / "copy")]), folder
    ).data.files("TRAIN")[0]
    content = json.loads(annotations.read_text())
    content["annotations"] = content["annotations"][:-1]
    annotations.write_text(json.dumps(content))
    assert list(differences(data(root / name), data(tmp_path / "copy"))) == ["annotations of DATASET.TRAIN (SHA-256)"]


def test_stand_alone_trainings_know_their_settings(trained: tuple[list[str], Path], tmp_path: Path) -> None:
    _, folder = trained
    fidelity = ["FIDELITY.EPOCHS", "1", "FIDELITY.IMAGES_PER_GPU", "4"]
    run = Run(load_config(folder / "run.yaml", fidelity), folder / "run.yaml")
    train_standalone(run, run.space.smallest, 0, tmp_path / "x")
    changed = Run(load_config(folder / "run.yaml", [*fidelity, "SUPERNET.EMA", "0.5"]), folder / "run.yaml")
    with pytest.raises(UserError, match=r"was made with SUPERNET.EMA 0.0, now it is 0.5"):
        train_standalone(changed, run.space.smallest, 0, tmp_path / "x")


def test_a_single_program_leaves_the_configuration_of_the_search(
    trained: tuple[list[str], Path], tmp_path: Path
) -> None:
    """Each training keeps its own beside its weights; config.yaml of the run is what the search ran with."""
    arguments, folder = trained
    run = Run(load_config(folder / "run.yaml", ["OUTPUT_DIR", str(tmp_path)]), folder / "run.yaml")
    run.keep_config(run.folder)
    before = run.paths.config.read_bytes()
    train.main([*arguments, "OUTPUT_DIR", str(tmp_path), "RETRAIN.LR", "0.002"])
    assert run.paths.config.read_bytes() == before
    (kept,) = (run.folder / "trained").rglob("config.yaml")
    assert load_config(kept).RETRAIN.LR == 0.002


def test_a_batch_of_several_processes_is_known_to_one(trained: tuple[list[str], Path], tmp_path: Path) -> None:
    """A supernet that four processes trained is found finished by search.py, which is one; not so another batch."""
    _, folder = trained
    run = Run(load_config(folder / "run.yaml", ["OUTPUT_DIR", str(tmp_path)]), folder / "run.yaml")
    made = keys.provenance(inputs.supernet_training(run, processes=4))
    checkpoint.save(run.paths.supernet_weights, {"state_dict": {}, "settings": made, "processes": 4})
    assert Made.of(run.paths.supernet).changes(keys.provenance(inputs.supernet_training(run))) == {}
    other = {**keys.provenance(inputs.supernet_training(run)), steps.BATCH: 1}
    assert list(Made.of(run.paths.supernet).changes(other)) == [steps.BATCH]
