"""YAML files as HRNet, HigherHRNet, LitePose, EfficientHRNet and TransPose publish them, and the networks they describe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from yacs.config import CfgNode

from search_spaces import FAMILIES, find_published, litepose, resnet
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.models import MODEL, architecture_of_model, family_name, superconfig_of
from tests import reference

RECORDS: dict[str, Any] = {
    name: record["config"] for name, record in reference.load_json("configs").items() if "model" in record["config"]
}

# What the bottom-up files of all repositories say besides the network.
BOTTOM_UP = """
AUTO_RESUME: True
DATA_DIR: ''
GPUS: (0,)
LOG_DIR: log
OUTPUT_DIR: output
PRINT_FREQ: 100
WORKERS: 4
FP16: {ENABLED: True, DYNAMIC_LOSS_SCALE: True}
CUDNN: {BENCHMARK: True, DETERMINISTIC: False, ENABLED: True}
DEBUG: {DEBUG: True, SAVE_BATCH_IMAGES_GT: False, SAVE_BATCH_IMAGES_PRED: False, SAVE_HEATMAPS_GT: True,
        SAVE_HEATMAPS_PRED: True, SAVE_TAGMAPS_PRED: True}
LOSS: {NUM_STAGES: 2, AE_LOSS_TYPE: exp, WITH_AE_LOSS: [True, False], PUSH_LOSS_FACTOR: [0.001, 0.001],
       PULL_LOSS_FACTOR: [0.001, 0.001], WITH_HEATMAPS_LOSS: [True, True], HEATMAPS_LOSS_FACTOR: [1.0, 1.0]}
TEST: {FLIP_TEST: True, IMAGES_PER_GPU: 1, MODEL_FILE: '', SCALE_FACTOR: [1], DETECTION_THRESHOLD: 0.1,
       WITH_HEATMAPS: "(True, True)", WITH_AE: "(True, False)", PROJECT2IMAGE: True, NMS_KERNEL: 5, NMS_PADDING: 2}
TRAIN: {BEGIN_EPOCH: 0, CHECKPOINT: '', END_EPOCH: 300, GAMMA1: 0.99, GAMMA2: 0.0, IMAGES_PER_GPU: 12, LR: 1e-3,
        LR_FACTOR: 0.1, LR_STEP: [200, 260], MOMENTUM: 0.9, NESTEROV: False, OPTIMIZER: adam, RESUME: False,
        SHUFFLE: True, WD: 0.0001}
"""
COCO_SETTING = """
DATASET: {{SIGMA: 2, DATASET: coco_kpt, DATASET_TEST: coco, DATA_FORMAT: jpg, FLIP: 0.5, INPUT_SIZE: {side},
          OUTPUT_SIZE: [{quarter}, {half}], MAX_NUM_PEOPLE: 30, MAX_ROTATION: 30, MAX_SCALE: 1.5, SCALE_TYPE: short,
          MAX_TRANSLATE: 40, MIN_SCALE: 0.75, NUM_JOINTS: 17, ROOT: data/coco, TEST: val2017, TRAIN: train2017}}
"""
# What the top-down files say besides the network.
TOP_DOWN = """
AUTO_RESUME: true
GPUS: (0,1,2,3)
PRINT_FREQ: 100
CUDNN: {BENCHMARK: true, DETERMINISTIC: false, ENABLED: true}
DATASET: {COLOR_RGB: true, DATASET: coco, DATA_FORMAT: jpg, FLIP: true, NUM_JOINTS_HALF_BODY: 8, PROB_HALF_BODY: 0.3,
          ROOT: data/coco/, ROT_FACTOR: 45, SCALE_FACTOR: 0.35, TEST_SET: val2017, TRAIN_SET: train2017}
LOSS: {USE_TARGET_WEIGHT: true}
TRAIN: {BATCH_SIZE_PER_GPU: 32, SHUFFLE: true, BEGIN_EPOCH: 0, END_EPOCH: 210, OPTIMIZER: adam, LR: 0.001, LR_FACTOR: 0.1,
        LR_STEP: [170, 200], WD: 0.0001, GAMMA1: 0.99, GAMMA2: 0.0, MOMENTUM: 0.9, NESTEROV: false}
TEST: {BATCH_SIZE_PER_GPU: 32, COCO_BBOX_FILE: boxes.json, BBOX_THRE: 1.0, IMAGE_THRE: 0.0, IN_VIS_THRE: 0.2, MODEL_FILE: '',
       NMS_THRE: 1.0, OKS_THRE: 0.9, USE_GT_BBOX: true, FLIP_TEST: true, POST_PROCESS: true, SHIFT_HEATMAP: true}
DEBUG: {DEBUG: true, SAVE_BATCH_IMAGES_GT: true, SAVE_BATCH_IMAGES_PRED: true, SAVE_HEATMAPS_GT: true,
        SAVE_HEATMAPS_PRED: true}
"""
STAGES = """
    STAGE2: {{NUM_MODULES: 1, NUM_BRANCHES: 2, BLOCK: BASIC, NUM_BLOCKS: [{b}, {b}], NUM_CHANNELS: [{w0}, {w1}],
             FUSE_METHOD: SUM}}
    STAGE3: {{NUM_MODULES: {m}, NUM_BRANCHES: 3, BLOCK: BASIC, NUM_BLOCKS: [{b}, {b}, {b}], NUM_CHANNELS: [{w0}, {w1}, {w2}],
             FUSE_METHOD: SUM}}
    STAGE4: {{NUM_MODULES: 3, NUM_BRANCHES: 4, BLOCK: BASIC, NUM_BLOCKS: [{b}, {b}, {b}, {b}],
             NUM_CHANNELS: [{w0}, {w1}, {w2}, {w3}], FUSE_METHOD: SUM}}
"""
DECONV = """
    DECONV: {{NUM_DECONVS: 1, NUM_CHANNELS: [{channels}], KERNEL_SIZE: [4], NUM_BASIC_BLOCKS: {blocks}, CAT_OUTPUT: [True]}}
"""


def stages(width: int, blocks: int = 4, modules: int = 4) -> str:
    return STAGES.format(b=blocks, m=modules, w0=width, w1=2 * width, w2=4 * width, w3=8 * width)


def coco(side: int) -> str:
    return BOTTOM_UP + COCO_SETTING.format(side=side, quarter=side // 4, half=side // 2)


def higher(width: int) -> str:
    return (
        "MODEL:\n  INIT_WEIGHTS: True\n  NAME: pose_higher_hrnet\n  NUM_JOINTS: 17\n  PRETRAINED: hrnet.pth\n"
        "  TAG_PER_JOINT: True\n  EXTRA:\n    FINAL_CONV_KERNEL: 1\n    PRETRAINED_LAYERS: ['*']\n"
        f"    STEM_INPLANES: 64{stages(width)}{DECONV.format(channels=width, blocks=4)}"
    )


def hrnet(width: int, size: str = "[192, 256]", heatmap: str = "[48, 64]") -> str:
    return TOP_DOWN + (
        "MODEL:\n  INIT_WEIGHTS: true\n  NAME: pose_hrnet\n  NUM_JOINTS: 17\n  PRETRAINED: hrnet.pth\n  TARGET_TYPE: gaussian\n"
        f"  IMAGE_SIZE: {size}\n  HEATMAP_SIZE: {heatmap}\n  SIGMA: 2\n  EXTRA:\n"
        "    PRETRAINED_LAYERS: [conv1, bn1, conv2, bn2, layer1, transition1, stage2, transition2, stage3, transition3, stage4]\n"
        f"    FINAL_CONV_KERNEL: 1{stages(width)}"
    )


SIMPLE = (
    TOP_DOWN
    + """
MODEL:
  NAME: pose_resnet
  PRETRAINED: resnet50-19c8e357.pth
  IMAGE_SIZE: [192, 256]
  HEATMAP_SIZE: [48, 64]
  SIGMA: 2
  NUM_JOINTS: 17
  TARGET_TYPE: gaussian
  EXTRA: {FINAL_CONV_KERNEL: 1, DECONV_WITH_BIAS: false, NUM_DECONV_LAYERS: 3, NUM_DECONV_FILTERS: [256, 256, 256],
          NUM_DECONV_KERNELS: [4, 4, 4], NUM_LAYERS: 50}
"""
)
EFFICIENT = f"""{coco(480)}
MODEL:
  INIT_WEIGHTS: True
  SCALE_FACTOR: -1
  WIDTH_MULT: 0.909
  DEPTH_MULT: 0.833
  NAME: pose_efficient_hrnet
  NUM_JOINTS: 17
  PRETRAINED: efficientnet-b0-4cfa50.pth
  TAG_PER_JOINT: True
  EXTRA:
    FINAL_CONV_KERNEL: 1
    PRETRAINED_LAYERS: ['*']
    STEM_INPLANES: 64{stages(32, blocks=2, modules=3)}{DECONV.format(channels=32, blocks=2)}
"""
LITEPOSE = f"""{coco(512)}
MULTIPROCESSING_DISTRIBUTED: False
MODEL:
  INIT_WEIGHTS: True
  NAME: pose_supermobilenet
  NUM_JOINTS: 17
  PRETRAINED: ''
  TAG_PER_JOINT: True
  EXTRA: {{FINAL_CONV_KERNEL: 1, PRETRAINED_LAYERS: ['*'], NUM_DECONV_LAYERS: 3, NUM_DECONV_FILTERS: [64, 48, 32],
          NUM_DECONV_KERNELS: [4, 4, 4]}}
"""

TRANSPOSE = (
    SIMPLE.replace("pose_resnet", "transpose_r")
    .replace("[170, 200]", "[100, 150, 200, 220], LR_END: 0.00001")
    .replace("FLIP_TEST: true", "FLIP_TEST: true, BLUR_KERNEL: 11")
    .replace("LAYERS: 3, NUM_DECONV_FILTERS: [256, 256, 256]", "LAYERS: 1, NUM_DECONV_FILTERS: [256]")
    .replace("NUM_DECONV_KERNELS: [4, 4, 4]", "NUM_DECONV_KERNELS: [4]")
    + "  DIM_MODEL: 256\n  DIM_FEEDFORWARD: 1024\n  N_HEAD: 8\n  ENCODER_LAYERS: 4\n  ATTENTION_ACTIVATION: relu\n"
    "  POS_EMBEDDING: sine\n"
)

KINDS = {
    "higherhrnet_w32_512_coco": coco(512) + higher(32),
    "higherhrnet_w32_640_coco": coco(640) + higher(32),
    "higherhrnet_w48_640_coco": coco(640) + higher(48),
    "hrnet_w32_coco_256x192_leoxiaobin": hrnet(32),
    "hrnet_w48_coco_256x192_leoxiaobin": hrnet(48),
    "simple_res50_coco_256x192": SIMPLE,
    "efficienthrnet_H1_coco": EFFICIENT,
    "transpose_r_a4_coco_256x192": TRANSPOSE,
}


def read(folder: Path, text: str, *overrides: str) -> CfgNode:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    cfg = read(folder, text, *overrides)
    with pytest.raises(UserError) as caught:
        architecture_of_model(cfg)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", list(KINDS))
def test_a_published_file_gives_the_published_network(name: str, tmp_path: Path) -> None:
    """As it stands, without a SPACE node and without a superconfig."""
    cfg = read(tmp_path, KINDS[name])
    family, arch = architecture_of_model(cfg)
    expected, entry = find_published(name)
    assert family is expected
    assert arch == entry.arch
    assert FAMILIES[family_name(cfg)] is family
    assert superconfig_of(cfg, None) == MODEL


@pytest.mark.parametrize("name", list(RECORDS))
def test_every_recorded_model_node_gives_the_published_network(name: str, tmp_path: Path) -> None:
    """The MODEL nodes that the original networks were built from: HRNet, HigherHRNet, EfficientHRNet, LitePose's, TransPose."""
    record = RECORDS[name]
    tree: dict[str, Any] = {"MODEL": record["model"]}
    if "with_ae_loss" in record:
        tree["DATASET"] = {"INPUT_SIZE": record["input_hw"][0]}
        tree["LOSS"] = {"WITH_AE_LOSS": record["with_ae_loss"], "WITH_HEATMAPS_LOSS": record["with_heatmaps_loss"]}
    family, arch = architecture_of_model(read(tmp_path, yaml.safe_dump(tree)))
    expected, entry = find_published(name)
    assert (family, arch) == (expected, entry.arch)


def test_what_no_published_name_has(tmp_path: Path) -> None:
    """Other resolutions, depths and branches than the published ones."""
    _, arch = architecture_of_model(read(tmp_path, hrnet(48, "[288, 384]", "[72, 96]")))
    assert arch == replace(find_published("hrnet_w48_coco_256x192_leoxiaobin")[1].arch, resolution=(384, 288))
    _, arch = architecture_of_model(read(tmp_path, SIMPLE, "MODEL.EXTRA.NUM_LAYERS", "152"))
    assert arch.backbone == resnet.resnet((3, 8, 36, 3))
    shrunk = ("MODEL.EXTRA.STAGE2.NUM_BLOCKS", "[0, 4]")
    _, arch = architecture_of_model(read(tmp_path, KINDS["higherhrnet_w32_512_coco"], *shrunk))
    assert (arch.backbone.stages[0].blocks, arch.backbone.empty_branch) == ((0, 4), "conv")


def test_efficienthrnet_of_its_authors(tmp_path: Path) -> None:
    """Their own program calls it pose_higher_hrnet too; the scaling tells them apart."""
    cfg = read(tmp_path, EFFICIENT, "MODEL.NAME", "pose_higher_hrnet")
    assert architecture_of_model(cfg)[1] == find_published("efficienthrnet_H1_coco")[1].arch
    assert family_name(cfg) == "efficient_hrnet"


def test_litepose_needs_a_superconfig_and_its_supernet_none(tmp_path: Path) -> None:
    """pose_mobilenet leaves the network to a superconfig; pose_supermobilenet is the space, and its largest network."""
    cfg = read(tmp_path, LITEPOSE)
    assert superconfig_of(cfg, None) is None
    assert architecture_of_model(cfg) == (litepose, litepose.SPACE.largest)
    cfg = read(tmp_path, LITEPOSE, "MODEL.NAME", "pose_mobilenet")
    assert superconfig_of(cfg, "litepose-S") == "litepose-S"
    assert superconfig_of(cfg, None) == MODEL
    line = refusal(tmp_path, LITEPOSE, "MODEL.NAME", "pose_mobilenet")
    assert line.startswith(
        "MODEL.NAME pose_mobilenet leaves the network open; add --superconfig, a JSON file or one of litepose-L"
    )


def test_this_toolkits_own_files_name_family_and_space(tmp_path: Path) -> None:
    """MODEL.NAME as the default says nothing; where both speak, they agree."""
    cfg = read(tmp_path, "SPACE: {FAMILY: widehrnet}")
    assert (family_name(cfg), superconfig_of(cfg, None)) == ("widehrnet", None)
    with pytest.raises(
        UserError, match="MODEL.NAME pose_hrnet is of the family hrnet, SPACE.FAMILY is srpose; leave one"
    ):
        family_name(read(tmp_path, hrnet(32), "SPACE.FAMILY", "srpose"))
    line = refusal(tmp_path, "SPACE: {FAMILY: widehrnet}")
    assert line.startswith(
        "MODEL.NAME 'pose_multi_resolution_net_v16' names no network that can be built; there are pose_hrnet"
    )


HIGHER = KINDS["higherhrnet_w32_512_coco"]
