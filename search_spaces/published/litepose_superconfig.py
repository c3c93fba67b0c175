"""Read and check superconfigs, the JSON files of LitePose's architectures (mit-han-lab/litepose)."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..space.tree import ArchitectureError

EXAMPLE = "litepose-XS.json"


class StageSetting(NamedTuple):
    """An item of ``backbone_setting``; a block is its expansion and its kernel."""

    width: int
    stride: int
    blocks: tuple[tuple[int, int], ...]


class Superconfig(NamedTuple):
    """What a superconfig says; ``resolution`` in pixels."""

    resolution: int
    input_width: int
    stages: tuple[StageSetting, ...]
    deconv_width: tuple[int, ...]


def parse(data: Any, stages: int, deconvs: int) -> Superconfig:
    """Check the value of a superconfig file. Of ``block_setting``, the first ``num_blocks`` count.

    Args:
        data: the JSON value.
        stages: how many LitePose has.
        deconvs: how many deconvolutions LitePose has.

    Raises:
        ArchitectureError: when a key is missing or a value is not a number where one has to be.
    """
    try:
        settings = tuple(
            StageSetting(
                _integer(stage["channel"], "channel"),
                _integer(stage["stride"], "stride"),
                tuple(
                    (_integer(expansion, "expansion"), _integer(kernel, "kernel"))
                    for expansion, kernel in _blocks(stage, index)
                ),
            )
            for index, stage in enumerate(data["backbone_setting"])
        )
        found = Superconfig(
            _integer(data["img_size"], "img_size"),
            _integer(data["input_channel"], "input_channel"),
            settings,
            tuple(_integer(width, "deconv_setting") for width in data["deconv_setting"]),
        )
    except KeyError as error:
        raise ArchitectureError(f"LitePose superconfig lacks {error}; it is written as in {EXAMPLE}") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, ArchitectureError):
            raise
        raise ArchitectureError(f"not a LitePose superconfig ({error}); it is written as in {EXAMPLE}") from None
    if len(found.stages) != stages or len(found.deconv_width) != deconvs:
        raise ArchitectureError(
            f"LitePose has {stages} stages and {deconvs} deconvolutions, the superconfig {len(found.stages)} and "
            f"{len(found.deconv_width)}"
        )
    return found


def _blocks(stage: Any, index: int) -> list[Any]:
    count, settings = _integer(stage["num_blocks"], "num_blocks"), list(stage["block_setting"])
    if not 1 <= count <= len(settings):
        raise ArchitectureError(f"backbone_setting[{index}]: num_blocks is {count}, block_setting has {len(settings)}")
    return settings[:count]


def _integer(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 100_000:
        raise ArchitectureError(f"{name} is {value!r}, it has to be a positive whole number")
    return value
