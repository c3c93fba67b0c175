"""Every number of the configuration has a range, in which its default lies; what lies outside ends in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from supernet.config.loading import load_config
from supernet.config.ranges import RANGES, Range, range_of
from supernet.config.rules import ITEMS
from supernet.config.schema import DEFAULTS, STAGE
from supernet.errors import UserError


def numbers(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, list[float]]]:
    """Every key that is a number, or a list of them, with its defaults."""
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from numbers(value, f"{name}.")
            continue
        example = ITEMS.get(name, (value or [""])[0]) if isinstance(value, list) else value
        if isinstance(example, int | float) and not isinstance(example, bool):
            yield name, value if isinstance(value, list) else [value]


def test_every_number_has_a_range_and_lies_in_it() -> None:
    found = dict([*numbers(DEFAULTS), *numbers(STAGE, "SUPERNET.STAGES.")])
    assert found.keys() == RANGES.keys()
    for name, values in found.items():
        assert all(value in RANGES[name] for value in values), name


@pytest.mark.parametrize(
    ("key", "value", "takes"),
    [
        ("TEST.IMAGES_PER_GPU", "-1", "a whole number, 1 to 65,536"),
        ("TEST.IMAGES_PER_GPU", "0", "a whole number, 1 to 65,536"),
        ("TRAIN.IMAGES_PER_GPU", "1000000000", "a whole number, 1 to 65,536"),
        ("THREADS", "-1", "a whole number, 0 to 1,024"),
        ("THREADS", "1000000000", "a whole number, 0 to 1,024"),
        ("WORKERS", "-1", "a whole number, 0 to 512"),
        ("WORKERS", "1000000000", "a whole number, 0 to 512"),
        ("SEED", "-1", "a whole number, 0 to 4,294,967,295"),
        ("SEED", "1e20", "a whole number, 0 to 4,294,967,295"),
        ("DATASET.SPLIT_SEED", "-1", "a whole number, 0 to"),
        ("SEARCH.EVALUATIONS", "-1", "a whole number, 1 to"),
        ("SEARCH.EVALUATIONS", "1e12", "a whole number, 1 to"),
        ("TRAIN.END_EPOCH", "-1", "a whole number, 1 to"),
        ("RETRAIN.EPOCHS", "-3", "a whole number, 0 to"),
        ("DATASET.MAX_NUM_PEOPLE", "-1", "a whole number, 1 to"),
        ("MODEL.SIGMA", "-1", "a number, above 0, at most 64"),
        ("DATASET.SIGMA", "-2", "a number, -1, or above 0, at most 64"),
        ("TEST.SCALE_FACTOR", "[1, -1]", "a number, above 0, at most 16"),
        ("DATASET.SCALE_FACTOR", "1e9", "a number, 0 to 0.99"),
        ("DATASET.SYNTHETIC.SIZE", "[-1, 64]", "a whole number, 16 to"),
        ("MODEL.IMAGE_SIZE", "[192, 0]", "a whole number, 16 to"),
        ("SUPERNET.EMA", "-1", "a number, 0 to 0.999999"),
        ("SUPERNET.EMA", "1", "a number, 0 to 0.999999"),
        ("TRAIN.LR", "-0.1", "a number, above 0, at most 100"),
        ("RETRAIN.LR", "1e9", "a number, 0 to 100"),
        ("COST.MAX_MACS", "-5", "a whole number, 0 to"),
        ("SUPERNET.STAGES", "[{name: a, steps: -5}]", "a whole number, 0 to"),
    ],
)  # fmt: skip
def test_numbers_outside_are_refused_with_the_range(key: str, value: str, takes: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"command line: {key}.* is .*; it takes {takes}") as caught:
        load_config(None, [key, value])
    assert "\n" not in str(caught.value)
    first, _, last = key.rpartition(".")
    path = tmp_path / "x.yaml"
    path.write_text(f"{last}: {value}\n")
    for node in reversed(first.split(".") if first else []):
        path.write_text(f"{node}: {{{path.read_text().strip()}}}\n")
    with pytest.raises(UserError, match=rf"x.yaml: {key}.* is .*; it takes {takes}"):
        load_config(path)


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_every_range(name: str) -> None:
    limits = RANGES[name]
    assert limits.high in limits and limits.high * 1.001 + 1 not in limits
    assert (limits.low in limits) != limits.above and limits.low - 0.5 not in limits
    assert range_of(f"{name}[3]") is limits


def test_how_ranges_are_written() -> None:
    assert str(Range(0, 512)) == "0 to 512"
    assert str(Range(0, 64, above=True, also=-1)) == "-1, or above 0, at most 64"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_has_characters_of_text(text: str) -> None:
    with pytest.raises(UserError, match="OUTPUT_DIR is .*, which has a character that no text has"):
        load_config(None, ["OUTPUT_DIR", text])
