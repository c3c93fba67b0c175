"""From the MODEL node of a configuration to the architecture that it describes.

HRNet, HigherHRNet, LitePose, EfficientHRNet and TransPose write their network into the YAML file: MODEL.NAME is the program's
model file, MODEL.EXTRA its numbers. Such a file needs no SPACE node and no superconfig: the name :data:`MODEL` stands for what
it describes. What a family here cannot build is refused by its key, and never built as something near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from yacs.config import CfgNode

from search_spaces import FAMILIES, efficient_hrnet, higher_hrnet, hrnet, litepose, resnet, transpose
from search_spaces.layers.heads import SimpleHead

from ..config.schema import DEFAULTS
from ..errors import UserError

#: The superconfig that means: the network of the MODEL node.
MODEL = "model"

SUPERNET = "pose_supermobilenet"  # the one name that stands for a space and not for a network


def family_name(cfg: CfgNode) -> str:
    """The family of MODEL.NAME, or else SPACE.FAMILY.

    Raises:
        UserError: when the configuration gives both, and they differ.
    """
    family = _family_of(cfg)
    if family is None:
        return str(cfg.SPACE.FAMILY)
    if cfg.SPACE.FAMILY not in (family, DEFAULTS["SPACE"]["FAMILY"]):
        raise UserError(
            f"MODEL.NAME {cfg.MODEL.NAME} is of the family {family}, SPACE.FAMILY is {cfg.SPACE.FAMILY}; leave one of them out"
        )
    return family


def family_of_poses(name: str) -> ModuleType:
    """The module of a family of pose networks, by its name.

    Raises:
        UserError: when there is no such family, or its networks have no keypoints.
    """
    known = [family for family, module in FAMILIES.items() if getattr(module, "KEYPOINTS", True)]
    if name not in known:
        what = "has no keypoints" if name in FAMILIES else "is not known"
        raise UserError(f"SPACE.FAMILY {name!r} {what}; there are {', '.join(known)}")
    return FAMILIES[name]


def superconfig_of(cfg: CfgNode, given: str | None) -> str | None:
    """The superconfig that a command line gave, or :data:`MODEL` where MODEL.NAME says the network, or None: a supernet."""
    says_network = _family_of(cfg) is not None and cfg.MODEL.NAME != SUPERNET
    return MODEL if given is None and says_network else given


def architecture_of_model(cfg: CfgNode) -> tuple[ModuleType, Any]:
    """The family of MODEL.NAME and the architecture that MODEL, DATASET and LOSS describe.

    The input has DATASET.INPUT_SIZE pixels a side, or MODEL.IMAGE_SIZE (width, height) for top-down networks.

    Raises:
        UserError: when there is no such model, or a key is missing or says what cannot be built; one line that names the key.
    """
    name = _model_name(cfg)
    if name not in _READERS:
        raise UserError(f"MODEL.NAME {name!r} names no network that can be built; there are {', '.join(_READERS)}")
    family, read = _READERS[name]
    return FAMILIES[family], read(cfg, _Node(cfg.MODEL.EXTRA, "MODEL.EXTRA"))


def _family_of(cfg: CfgNode) -> str | None:
    """The family of MODEL.NAME; None where it names none of :data:`_READERS`."""
    name = _model_name(cfg)
    return _READERS[name][0] if name in _READERS else None


def _model_name(cfg: CfgNode) -> str:
    """MODEL.NAME, of which EfficientHRNet's own program says pose_higher_hrnet."""
    model = cfg.MODEL
    scaled = (model.SCALE_FACTOR, model.WIDTH_MULT, model.DEPTH_MULT) != (0, 1.0, 1.0)
    return "pose_efficient_hrnet" if scaled and model.NAME == "pose_higher_hrnet" else str(model.NAME)


# ---------------------------------------------------------------------------------------------------- reading with checks


@dataclass(frozen=True)
class _Node:
    """A node whose keys are free, read with checks; ``path`` is its name in messages."""

    values: Mapping[str, Any]
    path: str

    def get(self, key: str) -> Any:
        if key not in self.values:
            raise UserError(f"{self.path}.{key} is missing; the network cannot be built without it")
        return self.values[key]

    def node(self, key: str) -> _Node:
        value = self.get(key)
        if not isinstance(value, Mapping):
            raise UserError(f"{self.path}.{key} is {value!r}, it has to be a mapping of keys to values")
        return _Node(value, f"{self.path}.{key}")

    def whole(self, key: str, lowest: int = 1) -> int:
        return _whole(self.get(key), f"{self.path}.{key}", lowest)

    def wholes(self, key: str, entries: int, lowest: int = 1) -> tuple[int, ...]:
        value = self.get(key)
        if not isinstance(value, (list, tuple)) or len(value) != entries:
            raise UserError(f"{self.path}.{key} is {value!r}, it has to be a list of {entries} whole numbers")
        return tuple(_whole(item, f"{self.path}.{key}[{index}]", lowest) for index, item in enumerate(value))

    def only(self, key: str, right: Any) -> None:
        """Refuse any other value than this one; where the key is left out, it is meant."""
        value = self.values.get(key, right)
        value = list(value) if isinstance(value, tuple) else value
        if value != right or isinstance(value, bool) != isinstance(right, bool):
            raise UserError(f"{self.path}.{key} is {value!r}, and only {right!r} can be built")


def _whole(value: Any, name: str, lowest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= 100_000:
        raise UserError(f"{name} is {value!r}, it has to be a whole number from {lowest} on")
    return value


def _multiple_of_32(name: str, *sides: int) -> None:
    for side in sides:
        if side < 32 or side % 32:
            raise UserError(f"{name} has {side}, it has to be a multiple of 32 pixels")


def _square(cfg: CfgNode) -> tuple[int, int]:
    """Height and width of a bottom-up input, pixels."""
    _multiple_of_32("DATASET.INPUT_SIZE", cfg.DATASET.INPUT_SIZE)
    return cfg.DATASET.INPUT_SIZE, cfg.DATASET.INPUT_SIZE


def _box(cfg: CfgNode) -> tuple[int, int]:
    """Height and width of a top-down input, pixels."""
    size = cfg.MODEL.IMAGE_SIZE
    if len(size) != 2:
        raise UserError(f"MODEL.IMAGE_SIZE is {list(size)}, it has to be width and height in pixels")
    _multiple_of_32("MODEL.IMAGE_SIZE", *size)
    return size[1], size[0]


def _stages(extra: _Node, fewest_blocks: int) -> tuple[Any, tuple[int, ...]]:
    """Modules and blocks of the stages with two, three and four branches, and the widths of the four branches."""
    widths = extra.node("STAGE4").wholes("NUM_CHANNELS", 4)
    stages = []
    for branches in (2, 3, 4):
        stage = extra.node(f"STAGE{branches}")
        stage.only("NUM_BRANCHES", branches)
        stage.only("BLOCK", "BASIC")
        stage.only("FUSE_METHOD", "SUM")
        stage.only("NUM_CHANNELS", [widths[0] * 2**branch for branch in range(branches)])
        blocks = stage.wholes("NUM_BLOCKS", branches, fewest_blocks)
        stages.append(hrnet.HRStage(stage.whole("NUM_MODULES"), blocks))
    extra.only("FINAL_CONV_KERNEL", 1)
    return tuple(stages), widths


def _fusion_head(cfg: CfgNode, extra: _Node) -> _Node:
    """The DECONV node of a network with two outputs, of which the first alone has tags."""
    deconv = extra.node("DECONV")
    deconv.only("NUM_DECONVS", 1)
    deconv.only("KERNEL_SIZE", [4])
    deconv.only("CAT_OUTPUT", [True])
    _two_outputs(cfg)
    return deconv


def _two_outputs(cfg: CfgNode) -> None:
    _Node(cfg.MODEL, "MODEL").only("TAG_PER_JOINT", True)
    _Node(cfg.LOSS, "LOSS").only("WITH_AE_LOSS", [True, False])
    _Node(cfg.LOSS, "LOSS").only("WITH_HEATMAPS_LOSS", [True, True])


def _deconvolutions(extra: _Node) -> tuple[int, ...]:
    """Widths of a simple head's transposed convolutions, each of which doubles the resolution."""
    count = extra.whole("NUM_DECONV_LAYERS", lowest=0)
    extra.only("NUM_DECONV_KERNELS", [4] * count)
    extra.only("DECONV_WITH_BIAS", False)
    extra.only("FINAL_CONV_KERNEL", 1)
    return extra.wholes("NUM_DECONV_FILTERS", count)


# --------------------------------------------------------------------------------------------------------------- models


def _hrnet(cfg: CfgNode, extra: _Node) -> hrnet.HRNetPose:
    """leoxiaobin/deep-high-resolution-net.pytorch, whose checkpoints have the layout ``original``."""
    stages, widths = _stages(extra, fewest_blocks=1)
    return hrnet.HRNetPose(_box(cfg), hrnet.HRNet(widths[0], stages), "original")


def _higher_hrnet(cfg: CfgNode, extra: _Node) -> higher_hrnet.HigherHRNet:
    """HigherHRNet, and LitePose's fork of it, where STEM_INPLANES and branches of no blocks have a meaning."""
    deconv = _fusion_head(cfg, extra)
    stages, widths = _stages(extra, fewest_blocks=0)
    trunk = hrnet.HRNet(
        widths[0],
        stages,
        bottleneck_width=extra.whole("STEM_INPLANES"),
        empty_branch="conv",
    )
    blocks = deconv.whole("NUM_BASIC_BLOCKS", lowest=0)
    return higher_hrnet.HigherHRNet(_square(cfg), trunk, deconv.wholes("NUM_CHANNELS", 1)[0], blocks)


def _efficient_hrnet(cfg: CfgNode, extra: _Node) -> efficient_hrnet.EfficientHRNet:
    """SCALE_FACTOR -n is the paper's H_-n; widths and depths of EfficientNet follow as 1.1^-n and 1.2^-n (paper §3.2)."""
    exponent = cfg.MODEL.SCALE_FACTOR
    if exponent not in (-1, -2, -3, -4):
        raise UserError(f"MODEL.SCALE_FACTOR is {exponent}, and only -1, -2, -3 or -4 can be built")
    for key, base in (("WIDTH_MULT", 1.1), ("DEPTH_MULT", 1.2)):
        if abs(cfg.MODEL[key] - base**exponent) > 0.002:
            raise UserError(
                f"MODEL.{key} is {cfg.MODEL[key]}, and with MODEL.SCALE_FACTOR {exponent} only {base**exponent:.3f} can be built"
            )
    deconv = _fusion_head(cfg, extra)
    stages, _ = _stages(extra, fewest_blocks=1)
    extra.node("STAGE4").only("NUM_CHANNELS", [32, 64, 128, 256])  # before scaling
    deconv.only("NUM_CHANNELS", [32])
    blocks = deconv.whole("NUM_BASIC_BLOCKS", lowest=0)
    return replace(efficient_hrnet.scaled(-exponent), resolution=_square(cfg), stages=stages, deconv_blocks=blocks)


def _resnet(cfg: CfgNode, extra: _Node) -> resnet.ResNetPose:
    """The ResNets of HRNet's repository with bottlenecks and transposed convolutions."""
    layers = extra.whole("NUM_LAYERS")
    depths = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # He et al., table 1
    if layers not in depths:
        raise UserError(f"MODEL.EXTRA.NUM_LAYERS is {layers}, and only 50, 101 or 152 can be built")
    return resnet.ResNetPose(_box(cfg), resnet.resnet(depths[layers]), SimpleHead(_deconvolutions(extra)))


def _transpose(cfg: CfgNode, extra: _Node) -> transpose.TransPoseR:
    """TransPose-R: the first two stages of ResNet-50, and an encoder on their output."""
    model = _Node(cfg.MODEL, "MODEL")
    model.only("ATTENTION_ACTIVATION", "relu")
    model.only("POS_EMBEDDING", "sine")
    extra.only("NUM_LAYERS", 50)
    height, width = _box(cfg)
    first, second = resnet.RESNET50.stages[:2]
    channels, heads = model.whole("DIM_MODEL"), model.whole("N_HEAD")
    if channels % heads or channels % 4:
        raise UserError(f"MODEL.DIM_MODEL is {channels}, it has to be a multiple of 4 and of MODEL.N_HEAD, {heads}")
    encoder = (model.whole("DIM_FEEDFORWARD"),) * model.whole("ENCODER_LAYERS")
    grid = (height // transpose.STRIDE, width // transpose.STRIDE)
    trunk = transpose.TransPose(grid, resnet.RESNET50.stem, (first, second), channels, heads, encoder)
    return transpose.TransPoseR((height, width), trunk, _deconvolutions(extra))


def _litepose(cfg: CfgNode, extra: _Node) -> litepose.LitePose:
    """LitePose, whose YAML file leaves the network to a superconfig."""
    del extra
    names = ", ".join(name for name in litepose.published() if name.startswith("litepose-"))
    raise UserError(
        f"MODEL.NAME {cfg.MODEL.NAME} leaves the network open; add --superconfig, a JSON file or one of {names}"
    )


def _litepose_supernet(cfg: CfgNode, extra: _Node) -> litepose.LitePose:
    """The largest network of LitePose's own space, at the file's resolution."""
    largest = litepose.SPACE.largest
    extra.only("NUM_DECONV_LAYERS", litepose.DECONVS)
    extra.only("NUM_DECONV_FILTERS", list(largest.deconv_width))
    extra.only("NUM_DECONV_KERNELS", [4] * litepose.DECONVS)
    _two_outputs(cfg)
    return replace(largest, resolution=_square(cfg)[0])


#: MODEL.NAME -> its family, and what reads the rest.
_READERS: dict[str, tuple[str, Callable[[CfgNode, _Node], Any]]] = {
    "pose_hrnet": ("hrnet", _hrnet),
    "pose_higher_hrnet": ("higher_hrnet", _higher_hrnet),
    "pose_efficient_hrnet": ("efficient_hrnet", _efficient_hrnet),
    "pose_resnet": ("resnet", _resnet),
    "transpose_r": ("transpose", _transpose),
    "pose_mobilenet": ("litepose", _litepose),
    SUPERNET: ("litepose", _litepose_supernet),
}
