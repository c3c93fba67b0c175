"""RTMPose: a CSPNeXt backbone and a head that classifies coordinates, top-down; made for devices.

Paper: Jiang et al., "RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose" (2023). Parameter names and shapes are
those of mmpose's checkpoints, which load without conversion. The weights of the head's last layers follow the input size, so that
a network takes images of one size only, and a supernet has a set of them for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .layers.cspnext import CSPNeXt, CSPStage
from .layers.simcc import RTMCC, STRIDE, SimCCNet
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class RTMPose:
    """An RTMPose. ``resolution`` is height and width of the input in pixels, multiples of 32."""

    resolution: tuple[int, int]
    backbone: CSPNeXt
    head: RTMCC

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


def build(arch: RTMPose, joints: int = 17) -> SimCCNet:
    """The network of ``arch`` for ``joints`` joints (17: COCO), with random weights; see :class:`SimCCNet` for its outputs."""
    return SimCCNet(arch.backbone, arch.head, arch.resolution, joints)


# ----------------------------------------------------------------------------------------------------------- space


def _stage(widths: tuple[int, ...], deepest: int, ratios: tuple[float, ...] = (0.25, 0.375, 0.5)) -> CSPStage:
    """A stage with every choice."""
    depths = choice(*range(1, deepest + 1))
    return CSPStage(choice(*widths), depths, choice(3, 5, 7), choice(*ratios), choice(False, True))


#: Everything between t and l, which are points of it as s and m are. Cost lies in widths, depths, ratio and resolution; kernels,
#: attention and the attention unit's widths are nearly free.
SPACE: Space[RTMPose] = Space(
    RTMPose(
        resolution=choice((192, 128), (224, 160), (256, 192), (320, 224), (384, 288)),
        backbone=CSPNeXt(
            stem=choice(24, 32, 48, 64),
            stages=(
                _stage((48, 64, 96, 128), 3),
                _stage((96, 128, 192, 256), 6),
                _stage((192, 256, 384, 512), 6),
                _stage((384, 512, 768, 1024), 3),
            ),
        ),
        head=RTMCC(kernel=choice(3, 5, 7), hidden=choice(128, 192, 256), key=choice(64, 128), expansion=choice(1, 2)),
    )
)

#: The same family at the size of a laptop, with square and landscape inputs.
SMALL: Space[RTMPose] = Space(
    RTMPose(
        resolution=choice((64, 64), (64, 96), (96, 128), (128, 128), (128, 192), (192, 192)),
        backbone=CSPNeXt(
            stem=choice(8, 16),
            stages=(
                _stage((16, 24), 2, (0.25, 0.5)),
                _stage((24, 32, 48), 2, (0.25, 0.5)),
                _stage((48, 64, 96), 2, (0.25, 0.5)),
                _stage((64, 96, 128), 2, (0.25, 0.5)),
            ),
        ),
        head=RTMCC(kernel=choice(3, 5, 7), hidden=choice(48, 64), key=choice(16, 32), expansion=choice(1, 2)),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

#: Choices whose smaller option is no zeroed larger one. Another input size has bins and cells of its own; scale norm divides by
#: the number of a token's channels, and the products of queries and keys by the number of theirs.
UNALIGNED = ("resolution", "hidden", "key")

# ---------------------------------------------------------------------------------- published variants and their files


def rtmpose(
    resolution: tuple[int, int], widths: tuple[int, int, int, int], blocks: tuple[int, int, int, int]
) -> RTMPose:
    """A published one: the stem has half of the first stage's channels, and everything else is the same in all of them."""
    first, second, third, fourth = (CSPStage(*stage, 5, 0.5, True) for stage in zip(widths, blocks, strict=True))
    backbone = CSPNeXt(widths[0] // 2, (first, second, third, fourth))
    return RTMPose(resolution, backbone, RTMCC(kernel=7, hidden=256, key=128, expansion=2))


_T = (48, 96, 192, 384), (1, 1, 1, 1)
_S = (64, 128, 256, 512), (1, 2, 2, 1)
_M = (96, 192, 384, 768), (2, 4, 4, 2)
_L = (128, 256, 512, 1024), (3, 6, 6, 3)
_SOURCE = "mmpose projects/rtmpose/README.md"


def _entry(arch: RTMPose, gmacs: float, params_m: float) -> Published:
    return Published(arch, 17, gmacs, "mmengine", params_m, _SOURCE)


PUBLISHED: dict[str, Published] = {
    "rtmpose_t_coco_256x192": _entry(rtmpose((256, 192), *_T), 0.36, 3.34),
    "rtmpose_s_coco_256x192": _entry(rtmpose((256, 192), *_S), 0.68, 5.47),
    "rtmpose_m_coco_256x192": _entry(rtmpose((256, 192), *_M), 1.93, 13.59),
    "rtmpose_l_coco_256x192": _entry(rtmpose((256, 192), *_L), 4.16, 27.66),
    "rtmpose_m_coco_384x288": _entry(rtmpose((384, 288), *_M), 4.33, 13.72),
    "rtmpose_l_coco_384x288": _entry(rtmpose((384, 288), *_L), 9.35, 27.79),
    "rtmpose_m_crowdpose_256x192": Published(rtmpose((256, 192), *_M), 14, source=_SOURCE),
    "rtmpose_m_mpii_256x256": Published(rtmpose((256, 256), *_M), 16, source=_SOURCE),
}


def published() -> dict[str, RTMPose]:
    """The published architectures, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> RTMPose:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when a field is missing or has no possible value; one line that names it.
    """
    arch = codec.from_json(RTMPose, data)
    check_resolution(arch.resolution)
    if arch.backbone.stem < 2 or arch.backbone.stem % 2:
        raise ArchitectureError(f"backbone.stem is {arch.backbone.stem}, it has to be even and at least 2")
    for index, stage in enumerate(arch.backbone.stages):
        place = f"backbone.stages[{index}]"
        if stage.blocks == 0 or stage.width < 2 or stage.width % 2:
            raise ArchitectureError(
                f"{place} has width {stage.width} and {stage.blocks} blocks, it has to have an even width and a block"
            )
        if stage.kernel % 2 == 0:
            raise ArchitectureError(f"{place}.kernel is {stage.kernel}, it has to be odd")
        if not 1 <= stage.inner <= stage.width:
            raise ArchitectureError(f"{place}.ratio is {stage.ratio}, it has to be up to 1 and leave a channel")
    if arch.head.kernel % 2 == 0:
        raise ArchitectureError(f"head.kernel is {arch.head.kernel}, it has to be odd")
    for field in ("hidden", "key", "expansion"):
        if getattr(arch.head, field) == 0:
            raise ArchitectureError(f"head.{field} is 0, it has to be at least 1")
    return arch


def check_resolution(resolution: tuple[int, int]) -> None:
    """Check that an input can be halved five times.

    Raises:
        ArchitectureError: when not; one line.
    """
    if any(side == 0 or side % STRIDE for side in resolution):
        raise ArchitectureError(f"resolution is {resolution}, it has to be two multiples of 32, height and width")
