from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from yacs.config import CfgNode

from supernet.config.foreign import FOREIGN
from supernet.config.loading import default_config, dump, load_config
from supernet.config.rules import ALIASES, CHOICES, FREE, ITEMS
from supernet.config.schema import DEFAULTS
from supernet.config.yaml_file import plain
from supernet.errors import UserError
from tests import reference

# Every key of LitePose's and HigherHRNet's published bottom-up files, in their way of writing.
BOTTOM_UP = """
AUTO_RESUME: True
MULTIPROCESSING_DISTRIBUTED: False
DATA_DIR: ''
GPUS: (0,)
LOG_DIR: log
OUTPUT_DIR: output
PRINT_FREQ: 50
FP16: {ENABLED: True, DYNAMIC_LOSS_SCALE: True}
CUDNN: {BENCHMARK: True, DETERMINISTIC: False, ENABLED: True}
DATASET:
  {SIGMA: 2, DATASET: crowd_pose_kpt, DATASET_TEST: crowd_pose, DATA_FORMAT: jpg, FLIP: 0.5, INPUT_SIZE: 448,
   OUTPUT_SIZE: [112, 224], MAX_NUM_PEOPLE: 30, MAX_ROTATION: 30, MAX_SCALE: 1.5, SCALE_TYPE: 'short',
   MAX_TRANSLATE: 40, MIN_SCALE: 0.75, NUM_JOINTS: 14, ROOT: '/data/crowdpose', TEST: test, TRAIN: trainval}
DEBUG:
  {DEBUG: True, SAVE_BATCH_IMAGES_GT: False, SAVE_BATCH_IMAGES_PRED: False, SAVE_HEATMAPS_GT: True,
   SAVE_HEATMAPS_PRED: True, SAVE_TAGMAPS_PRED: True}
LOSS:
  {NUM_STAGES: 2, AE_LOSS_TYPE: exp, WITH_AE_LOSS: [True, False], PUSH_LOSS_FACTOR: [0.001, 0.001],
   PULL_LOSS_FACTOR: [0.001, 0.001], WITH_HEATMAPS_LOSS: [True, True], HEATMAPS_LOSS_FACTOR: [1.0, 1.0]}
MODEL:
  EXTRA:
    FINAL_CONV_KERNEL: 1
    PRETRAINED_LAYERS: ['*']
    NUM_DECONV_FILTERS:
      - 64
      - 48
    STAGE2: {NUM_MODULES: 1, BLOCK: BASIC, NUM_BLOCKS: [4, 4], FUSE_METHOD: SUM}
    DECONV: {CAT_OUTPUT: [True]}
  INIT_WEIGHTS: True
  NAME: pose_supermobilenet
  NUM_JOINTS: 14
  PRETRAINED: ''
  TAG_PER_JOINT: True
  SYNC_BN: True
TEST:
  {FLIP_TEST: True, IMAGES_PER_GPU: 1, MODEL_FILE: '', SCALE_FACTOR: [1], DETECTION_THRESHOLD: 0.1, PROJECT2IMAGE: True,
   WITH_HEATMAPS: "(True, True)", WITH_AE: "(True, False)", NMS_KERNEL: 5, NMS_PADDING: 2}
TRAIN:
  {BEGIN_EPOCH: 0, CHECKPOINT: '', END_EPOCH: 2400, GAMMA1: 0.99, GAMMA2: 0.0, IMAGES_PER_GPU: 16, LR: 4e-3,
   LR_FACTOR: 0.1, LR_STEP: [36000, 40000], MOMENTUM: 0.9, NESTEROV: False, OPTIMIZER: adam,
   RESUME: False, SHUFFLE: True, WD: 1e-4}
WORKERS: 4
"""

# The same for HRNet's top-down files.
TOP_DOWN = """
GPUS: (0,1,2,3)
DATASET:
  {COLOR_RGB: true, DATASET: coco, DATA_FORMAT: jpg, FLIP: true, NUM_JOINTS_HALF_BODY: 8, PROB_HALF_BODY: 0.3,
   ROOT: data/coco/, ROT_FACTOR: 45, SCALE_FACTOR: 0.35, TEST_SET: val2017, TRAIN_SET: train2017}
MODEL:
  {INIT_WEIGHTS: true, NAME: pose_hrnet, NUM_JOINTS: 17, PRETRAINED: a.pth, TARGET_TYPE: gaussian,
   IMAGE_SIZE: [192, 256], HEATMAP_SIZE: [48, 64], SIGMA: 2,
   EXTRA: {PRETRAINED_LAYERS: [conv1, bn1], NUM_LAYERS: 50, DECONV_WITH_BIAS: false}}
LOSS: {USE_TARGET_WEIGHT: true}
TRAIN: {BATCH_SIZE_PER_GPU: 24}
TEST:
  {BATCH_SIZE_PER_GPU: 12, COCO_BBOX_FILE: boxes.json, BBOX_THRE: 1.0, IMAGE_THRE: 0.0, IN_VIS_THRE: 0.2,
   MODEL_FILE: '', NMS_THRE: 1.0, OKS_THRE: 0.9, USE_GT_BBOX: true, FLIP_TEST: true,
   POST_PROCESS: true, SHIFT_HEATMAP: true}
"""


def read(folder: Path, text: str, *overrides: str) -> CfgNode:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def message(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, text, *overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(f"{folder}/")


def test_defaults_are_fresh_and_loading_freezes() -> None:
    first, second = default_config(), default_config()
    first.TRAIN.LR_STEP.append(1)
    assert second.TRAIN.LR_STEP == [90, 110] == DEFAULTS["TRAIN"]["LR_STEP"]
    cfg = load_config(None)
    assert cfg == second
    with pytest.raises(AttributeError):
        cfg.TRAIN.LR = 1.0


def test_the_tables_beside_the_defaults_name_real_keys() -> None:
    def at(path: str) -> Any:
        value: Any = DEFAULTS
        for key in path.split("."):
            value = value[key]
        return value

    assert all(at(path) == {} for path in FREE)
    assert all(at(path) in ({}, []) for path in ITEMS)
    for path, choices in CHOICES.items():  # of a key, or of each item of its list
        assert set(at(path) if isinstance(at(path), list) else [at(path)]) <= set(choices)
    assert all(at(f"{path.rpartition('.')[0]}.{key}") is not None for path, key in ALIASES.items())


def test_keys_of_other_projects_are_dropped(tmp_path: Path) -> None:
    """Whatever they say; on a command line, where somebody means them, they are refused."""
    text = "GPUS: (0,1)\nPRINT_FREQ: x\nDEBUG: {DEBUG: true, ANY: 1}\nTRAIN: {RESUME: true, LR: 0.5}\n"
    cfg = read(tmp_path, text)
    assert cfg.TRAIN.LR == 0.5 and "DEBUG" not in cfg and "RESUME" not in cfg.TRAIN
    for name in FOREIGN:
        node: Any = default_config()
        assert any(part not in node or (node := node[part]) is None for part in name.split("."))
    with pytest.raises(
        UserError, match="TRAIN.RESUME is a key of other projects and changes nothing here; leave it out"
    ):
        load_config(None, ["TRAIN.RESUME", "true"])
    with pytest.raises(UserError, match="unknown key TRAIN.RESUMED; the keys there are LR"):
        read(tmp_path, "TRAIN: {RESUMED: true}")


def test_every_default_loads_as_itself(tmp_path: Path) -> None:
    """So that no default contradicts its own type, choices or item example."""
    assert read(tmp_path, dump(default_config())) == default_config()


def test_published_bottom_up_files_load(tmp_path: Path) -> None:
    cfg = read(tmp_path, BOTTOM_UP)
    assert cfg.TRAIN.LR == 0.004 and cfg.TRAIN.WD == 0.0001  # "4e-3" and "1e-4" are strings to YAML 1.1
    assert cfg.TEST.WITH_AE == [True, False]
    assert cfg.DATASET.SIGMA == 2.0 and isinstance(cfg.DATASET.SIGMA, float)
    assert cfg.MODEL.EXTRA.STAGE2.BLOCK == "BASIC"
    assert cfg.MODEL.EXTRA.PRETRAINED_LAYERS == ["*"]
    assert cfg.TEST.TAG_THRESHOLD == 1.0  # not in the file


def test_published_top_down_files_load(tmp_path: Path) -> None:
    cfg = read(tmp_path, TOP_DOWN)
    assert (cfg.DATASET.TRAIN, cfg.DATASET.TEST) == ("train2017", "val2017")
    assert (cfg.TRAIN.IMAGES_PER_GPU, cfg.TEST.IMAGES_PER_GPU) == (24, 12)
    assert cfg.DATASET.FLIP == 0.5
    assert read(tmp_path, "DATASET: {FLIP: false}").DATASET.FLIP == 0.0
    assert read(tmp_path, "DATASET: {FLIP: 1}").DATASET.FLIP == 1.0


def test_model_nodes_of_the_reference_records_load() -> None:
    records = reference.load_json("configs")
    nodes = [
        node
        for record in records.values()
        if isinstance(node := record["config"].get("model"), dict) and "EXTRA" in node
    ]
    assert len(nodes) > 5
    for node in nodes:
        cfg = load_config(None, ["MODEL", json.dumps(node)])
        assert cfg.MODEL.NAME == node["NAME"]
        assert json.loads(json.dumps(cfg.MODEL.EXTRA)) == node["EXTRA"]


def test_stages_are_filled_in_and_checked(tmp_path: Path) -> None:
    cfg = read(
        tmp_path,
        "SUPERNET: {STAGES: [{name: all, epochs: 3}, {name: kernels, open: [stages.*.kernel], steps: 9, lr: 1e-2}]}",
    )
    first, second = cfg.SUPERNET.STAGES
    assert dict(first) == {"name": "all", "open": [], "steps": 0, "epochs": 3, "lr": 0.0}
    assert (second.open, second.steps, second["lr"]) == (["stages.*.kernel"], 9, 0.01)
    with pytest.raises(AttributeError):
        first.steps = 1
    assert load_config(None, ["SUPERNET.STAGES", "[{name: a, steps: 1}]"]).SUPERNET.STAGES[0].name == "a"


def test_dump_reads_back_the_same(tmp_path: Path) -> None:
    text = BOTTOM_UP + "SUPERNET: {STAGES: [{name: all, steps: 3}]}\nSPACE: {RESTRICT: {'stages[0].kernel': [3, 5]}}\n"
    cfg = read(tmp_path, text, "SEARCH.BUDGETS.phone", "5e8")
    again = read(tmp_path, dump(cfg))
    assert again == cfg
    assert again.SUPERNET.STAGES[0].steps == 3
    assert cfg.clone() == cfg


def test_overrides_are_typed_by_the_key(tmp_path: Path) -> None:
    pairs = {
        "TRAIN.LR": "4e-3",
        "TRAIN.LR_STEP": "[1, 2]",
        "TEST.SCALE_FACTOR": "(0.5, 1, 2)",
        "DATASET.OUTPUT_SIZE": "64",
        "OUTPUT_DIR": "2024",
        "DATASET.ROOT": "",
        "CHANNELS_LAST": "false",
        "COST.MAX_MACS": "1.2e9",
        "SPACE.MUST_CONTAIN": "[litepose-S, mine.json]",
        "SPACE.RESTRICT.stages[0].kernel": "[3, 5]",
        "SEARCH.BUDGETS": "{phone: 500000000}",
        "SEARCH.BUDGETS.watch": "1e8",
        "MODEL.EXTRA.STAGE2.NUM_BLOCKS": "(2, 2)",
        "MODEL.EXTRA.STAGE2.BLOCK": "BASIC",
    }
    cfg = read(tmp_path, "TRAIN: {LR: 1, LR_STEP: []}", *(text for pair in pairs.items() for text in pair))
    assert cfg.TRAIN.LR == 0.004
    assert cfg.TRAIN.LR_STEP == [1, 2]
    assert cfg.TEST.SCALE_FACTOR == [0.5, 1.0, 2.0]
    assert cfg.DATASET.OUTPUT_SIZE == [64]
    assert cfg.OUTPUT_DIR == "2024" and cfg.DATASET.ROOT == ""
    assert cfg.CHANNELS_LAST is False
    assert cfg.COST.MAX_MACS == 1_200_000_000 and isinstance(cfg.COST.MAX_MACS, int)
    assert cfg.SPACE.MUST_CONTAIN == ["litepose-S", "mine.json"]
    assert dict(cfg.SPACE.RESTRICT) == {"stages[0].kernel": [3, 5]}
    assert dict(cfg.SEARCH.BUDGETS) == {"phone": 500_000_000, "watch": 100_000_000}
    several = load_config(
        None, ["SEARCH.BUDGETS", "{S: {latency_ms: 5, params: 2e6}, M: 60e6}", "SEARCH.BUDGETS.L-1", "{macs: 9e7}"]
    )
    assert plain(several)["SEARCH"]["BUDGETS"] == {
        "S": {"latency_ms": 5.0, "params": 2_000_000}, "M": 60_000_000, "L-1": {"macs": 90_000_000}
    }  # fmt: skip
    assert load_config(None, base=plain(several)) == several
    assert cfg.MODEL.EXTRA == {"STAGE2": {"NUM_BLOCKS": (2, 2), "BLOCK": "BASIC"}}


@pytest.mark.parametrize("text", ["", "DATASET:\n", "OUTPUT_DIR: null", "RETRAIN: {LR_STEP: null}"])
def test_empty_values_are_the_empty_value_of_the_key(tmp_path: Path, text: str) -> None:
    cfg = read(tmp_path, text)
    assert cfg.OUTPUT_DIR == ("" if "OUTPUT_DIR" in text else "output")
    assert cfg.RETRAIN.LR_STEP == []
    assert cfg.DATASET.TRAIN == "train2017"
