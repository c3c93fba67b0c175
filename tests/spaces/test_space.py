"""The tree of choices: against enumeration by hand on a space that is small enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest

from search_spaces import ArchitectureError, Space, choice, litepose, repeat


@dataclass(frozen=True)
class Block:
    """One block."""

    kernel: int
    width: int


@dataclass(frozen=True)
class Net:
    """An architecture."""

    resolution: int
    blocks: tuple[Block, ...]
    tail: tuple[int, int]


TREE = Net(choice(128, 192), repeat(Block(choice(3, 5), 8), depth=choice(0, 1, 3)), (choice(1, 2), 7))
SPACE: Space[Net] = Space(TREE)


def everything() -> set[Net]:
    """All architectures, written out."""
    blocks = [
        tuple(Block(kernel, 8) for kernel in kernels)
        for depth in (0, 1, 3)
        for kernels in product((3, 5), repeat=depth)
    ]
    return {Net(resolution, some, (tail, 7)) for resolution in (128, 192) for some in blocks for tail in (1, 2)}


def test_codes_are_the_architectures_one_to_one() -> None:
    """No inactive gene, no two codes for one network, none left out."""
    decoded = [SPACE.decode(code) for code in SPACE.all_codes()]
    assert SPACE.size == len(decoded) == len(everything()) == 44
    assert set(decoded) == everything()
    for arch in decoded:
        assert SPACE.decode(SPACE.encode(arch)) == arch


def test_largest_and_smallest() -> None:
    """Last and first option everywhere."""
    assert SPACE.largest == Net(192, (Block(5, 8),) * 3, (2, 7))
    assert SPACE.smallest == Net(128, (), (1, 7))


def test_sampling_reaches_every_architecture_and_nothing_else() -> None:
    """And the same generator gives the same draw."""
    rng = np.random.default_rng(0)
    drawn = {SPACE.sample(rng) for _ in range(2_000)}
    assert drawn == everything()
    assert SPACE.sample(np.random.default_rng(3)) == SPACE.sample(np.random.default_rng(3))


@pytest.mark.parametrize("space", [SPACE, litepose.SPACE, litepose.WIDE, litepose.SMALL], ids=repr)
def test_variation_stays_inside(space: Space[object]) -> None:
    """Mutants differ from their parent; children take every choice from a parent that has it."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, two = space.sample(rng), space.sample(rng)
        mutant = space.mutate(one, rng, 0.1)
        assert mutant != one
        assert space.contains(mutant)
        a, b, child = space.encode(one), space.encode(two), space.encode(space.crossover(one, two, rng))
        assert all(gene in (x, y) for gene, x, y in zip(child, a, b, strict=True))


@pytest.mark.parametrize("space", [SPACE, litepose.SMALL], ids=repr)
def test_variation_of_many_is_valid_and_distributed_as_that_of_one(space: Space[object]) -> None:
    """Every row decodes; a row among many has the distribution of a single row."""
    rng = np.random.default_rng(0)
    one, two = space.sample_codes(1, rng), space.sample_codes(1, rng)
    first, second = space.decode(one[0]), space.decode(two[0])
    many = space.mutate_codes(np.tile(one, (600, 1)), rng, 0.2)
    single = np.stack([space.encode(space.mutate(first, rng, 0.2)) for _ in range(600)])
    assert (many != one).any(axis=1).all() and len({tuple(row) for row in many}) > 4
    assert np.abs((many == one).mean(axis=0) - (single == one).mean(axis=0)).max() < 0.1
    children = space.crossover_codes(np.tile(one, (600, 1)), np.tile(two, (600, 1)), rng)
    single = np.stack([space.encode(space.crossover(first, second, rng)) for _ in range(600)])
    assert np.abs((children == one).mean(axis=0) - (single == one).mean(axis=0)).max() < 0.1
    for row in [*many[:100], *children[:100]]:
        assert (space.encode(space.decode(row)) == row).all()


def test_a_space_without_choices_does_not_vary() -> None:
    """There is one code, and it has no entry."""
    fixed: Space[Net] = Space(Net(128, (Block(3, 8),), (1, 7)))
    code, rng = fixed.sample_codes(2, np.random.default_rng(0)), np.random.default_rng(0)
    assert (
        code.shape == fixed.mutate_codes(code, rng, 0.5).shape == fixed.crossover_codes(code, code, rng).shape == (2, 0)
    )


def test_reasons() -> None:
    """Why an architecture is outside, with the place."""
    arch = SPACE.largest
    assert SPACE.why_not(replace(arch, resolution=200)) == "resolution 200 is not one of 128, 192 at resolution"
    assert SPACE.why_not(replace(arch, blocks=(Block(9, 8),))) == "kernel 9 is not one of 3, 5 at blocks[0].kernel"
    assert SPACE.why_not(replace(arch, blocks=(Block(3, 8),) * 2)) == "depth 2 is not one of 0, 1, 3 at blocks.depth"
    assert SPACE.why_not(replace(arch, blocks=(Block(3, 16),))) == "width 16 is not 8 at blocks[0].width"
    assert SPACE.why_not(replace(arch, tail=(1, 8))) is not None


@pytest.mark.parametrize("code", [[0, 2, 0, 0, -1, 0], [0, 0, 0, -1, -1, 0], [2, 0, -1, -1, -1, 0], [0, 0, -1]])
def test_codes_that_are_none(code: list[int]) -> None:
    """Absent where it has to be there, there where it has to be absent, out of range, too short."""
    with pytest.raises(ArchitectureError):
        SPACE.decode(code)


def test_options_have_to_ascend() -> None:
    """Descending or repeated options are a mistake in the space."""
    for options in ((5, 3), (3, 3), ()):
        with pytest.raises(ArchitectureError):
            choice(*options)


def test_restriction() -> None:
    """Stages of the shrinking: everything else at its largest option; one kind open; a subset of options kept."""
    assert SPACE.restrict({}, rest="largest").size == 1
    assert SPACE.restrict({"kernel": "all"}, rest="largest").size == 8
    assert SPACE.restrict({"depth": 2}).smallest.blocks == (Block(3, 8),)
    assert SPACE.restrict({"resolution": [128]}).largest.resolution == 128
    assert SPACE.restrict({"blocks[[]1].kernel": 1, "depth": 1}).largest == SPACE.largest
    with pytest.raises(
        ArchitectureError, match="no choice is called 'kernal'; there are resolution, depth, kernel, tail"
    ):
        SPACE.restrict({"kernal": "all"})
    with pytest.raises(ArchitectureError, match="7 is not among 3, 5"):
        SPACE.restrict({"kernel": [7]})
    assert SPACE.restrict({"depth": 2}).fingerprint != SPACE.fingerprint
