"""Which channels belong together, as running a module on labels finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from supernet.errors import UserError
from supernet.sharing.labelling import label
from supernet.sharing.labels import Labels
from tests.sharing.networks import SMALL

IMAGES = (torch.empty(2, 3, 8, 8, device="meta"),)


class Own(nn.Module):
    """Layers by name, and a forward of one line."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **layers: Any) -> None:
        super().__init__()
        self.line = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.line(self, x)


def run(forward: Callable[[Any, Tensor], Any], *inputs: Any, **layers: Any) -> Labels:
    return label(Own(forward, **layers), inputs or IMAGES)


def together(labels: Labels, *places: tuple[str, int, int]) -> bool:
    """Whether entries (tensor, dimension, index) are of one class."""
    return len({int(labels.classes(name, dim)[index]) for name, dim, index in places}) == 1


def fixed(labels: Labels, name: str, dim: int) -> bool:
    return bool((labels.classes(name, dim) == labels.fixed).all())


def test_a_chain() -> None:
    labels = run(
        lambda m, x: m.two(F.relu(m.norm(m.one(x)))),
        one=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4), two=nn.Conv2d(4, 5, 1),
    )  # fmt: skip
    for i in range(4):
        kinds = ("weight", "bias", "running_mean", "running_var")
        assert together(
            labels,
            ("one.weight", 0, i),
            ("one.bias", 0, i),
            ("two.weight", 1, i),
            *((f"norm.{kind}", 0, i) for kind in kinds),
        )
    assert not together(labels, ("one.weight", 0, 0), ("one.weight", 0, 1))
    assert fixed(labels, "one.weight", 1) and fixed(labels, "two.weight", 0) and fixed(labels, "two.bias", 0)
    assert not labels.unknown


def test_a_concatenation_and_a_slice() -> None:
    labels = run(
        lambda m, x: m.last(torch.cat([m.one(x), F.pad(m.two(x), (0, 0, 0, 0, 0, 1))], 1)[:, 1:]),
        one=nn.Conv2d(3, 2, 1), two=nn.Conv2d(3, 3, 1), last=nn.Conv2d(5, 1, 1),
    )  # fmt: skip
    assert together(labels, ("last.weight", 1, 0), ("one.weight", 0, 1))
    assert together(labels, ("last.weight", 1, 3), ("two.weight", 0, 2))
    assert int(labels.classes("last.weight", 1)[4]) == labels.fixed  # reads the padding
    assert ("one.weight", 0) in labels.first and not together(labels, ("one.weight", 0, 0), ("one.weight", 0, 1))


def test_a_shuffle() -> None:
    labels = run(
        lambda m, x: m.two(m.one(x).view(2, 2, 3, 8, 8).transpose(1, 2).reshape(2, 6, 8, 8)),
        one=nn.Conv2d(3, 6, 1), two=nn.Conv2d(6, 1, 1),
    )  # fmt: skip
    for read, made in enumerate((0, 3, 1, 4, 2, 5)):
        assert together(labels, ("two.weight", 1, read), ("one.weight", 0, made))
    assert together(labels, ("one.weight", 0, 0), ("one.weight", 0, 3))  # or the view would not fit


@pytest.mark.parametrize("last", [False, True])
def test_a_flatten_with_channels_first_and_last(last: bool) -> None:
    labels = run(
        lambda m, x: m.two((m.one(x).permute(0, 2, 3, 1) if last else m.one(x)).flatten(1)),
        one=nn.Conv2d(3, 4, 4, 4), two=nn.Linear(16, 1),
    )  # fmt: skip
    for read in range(16):
        assert together(labels, ("two.weight", 1, read), ("one.weight", 0, read % 4 if last else read // 4))


def test_gates_tie_and_masks_do_not() -> None:
    labels = run(
        lambda m, x: m.two(m.one(x) * m.gate(m.one(x).mean((2, 3), keepdim=True)) * m.mask(x).sigmoid()),
        one=nn.Conv2d(3, 4, 1), gate=nn.Conv2d(4, 4, 1), mask=nn.Conv2d(3, 1, 1), two=nn.Conv2d(4, 1, 1),
    )  # fmt: skip
    assert together(labels, ("one.weight", 0, 2), ("gate.weight", 0, 2), ("gate.weight", 1, 2), ("two.weight", 1, 2))
    assert not together(labels, ("one.weight", 0, 2), ("mask.weight", 0, 0))
    assert not together(labels, ("one.weight", 0, 2), ("one.weight", 0, 1))


def test_groups() -> None:
    labels = run(
        lambda m, x: m.last(m.norm(m.wide(m.depthwise(m.one(x))))),
        one=nn.Conv2d(3, 4, 1), depthwise=nn.Conv2d(4, 4, 3, padding=1, groups=4), wide=nn.Conv2d(4, 8, 1, groups=2),
        norm=nn.GroupNorm(4, 8), last=nn.ConvTranspose2d(8, 2, 2),
    )  # fmt: skip
    assert together(
        labels, ("one.weight", 0, 0), ("depthwise.weight", 0, 1), ("wide.weight", 0, 3), ("last.weight", 0, 2)
    )
    assert not together(labels, ("one.weight", 0, 0), ("one.weight", 0, 2))


def test_parameters_that_are_read_directly() -> None:
    labels = run(
        lambda m, x: m.last((m.one(x).flatten(2).transpose(1, 2) + m.positions) * m.scale),
        one=nn.Conv2d(3, 4, 4, 4), positions=nn.Parameter(torch.zeros(1, 4, 4)), scale=nn.Parameter(torch.ones(4)),
        last=nn.Linear(4, 2),
    )  # fmt: skip
    positions = labels.classes("positions", None).reshape(4, 4)
    assert (positions == positions[:1]).all() and len(set(positions[0].tolist())) == 4
    assert together(labels, ("scale", 0, 1), ("one.weight", 0, 1), ("last.weight", 1, 1))
    assert positions[0, 1] == labels.classes("scale", 0)[1]


def test_sums_over_channels_and_over_branches() -> None:
    labels = run(
        lambda m, x: m.last(torch.stack([m.one(x), m.two(x)], 1).sum(1) + m.one(x).mean(1, keepdim=True)),
        one=nn.Conv2d(3, 4, 1), two=nn.Conv2d(3, 4, 1), last=nn.Conv2d(4, 1, 1),
    )  # fmt: skip
    assert together(labels, ("one.weight", 0, 3), ("two.weight", 0, 3), ("last.weight", 1, 3))
    assert not fixed(labels, "one.weight", 0)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: Any) -> None:
    labels = run(
        lambda m, x: m.last(m.rows(m.one(x).flatten(2).transpose(1, 2))[0]),
        one=nn.Conv2d(3, 4, 4, 4), rows=kind(4, 5, 2, batch_first=True, bidirectional=True), last=nn.Linear(10, 1),
    )  # fmt: skip
    assert together(labels, ("one.weight", 0, 1), ("rows.weight_ih_l0", 1, 1))
    assert together(
        labels,
        ("rows.weight_hh_l1", 1, 2),
        ("rows.weight_hh_l1", 0, 2),
        ("rows.bias_ih_l1", 0, 2),
        ("last.weight", 1, 2),
    )
    assert together(labels, ("rows.weight_hh_l0_reverse", 1, 2), ("rows.weight_ih_l1", 1, 7))
    assert not together(labels, ("rows.weight_hh_l1", 1, 2), ("rows.weight_hh_l1", 1, 3)) and not labels.unknown


def test_both_modes_are_looked_at_and_nothing_is_changed() -> None:
    module = Own(
        lambda m, x: [m.norm(m.one(x)), m.aside(m.one(x))] if m.training else m.norm(m.one(x)),
        one=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4), aside=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    images, before, state = torch.randn(2, 3, 8, 8), module.training, torch.get_rng_state()
    labels = label(module, (images,))
    assert fixed(labels, "aside.weight", 1) and fixed(labels, "aside.weight", 0)
    assert not any(name == "aside.weight" for name, _ in label(module, IMAGES, modes=[False]).first)
    assert module.training == before and not list(module.norm.running_mean.nonzero())  # type: ignore[operator]
    assert int(module.norm.num_batches_tracked) == 0 and not module.one._forward_hooks  # type: ignore[arg-type, union-attr]
    assert torch.equal(torch.get_rng_state(), state)


def test_unknown_operations_are_named() -> None:
    labels = run(lambda m, x: m.two(torch.sort(m.one(x), 1)[0]), one=nn.Conv2d(3, 4, 1), two=nn.Conv2d(4, 1, 1))
    assert dict(labels.unknown) == {("sort", ""): 2}  # once in each mode
    assert fixed(labels, "one.weight", 0) and fixed(labels, "two.weight", 1)


def test_computed_indices_are_looked_at_on_the_cpu() -> None:
    labels = run(
        lambda m, x: m.two(m.one(x)[:, torch.arange(4).flip(0)]),
        torch.zeros(2, 3, 8, 8), one=nn.Conv2d(3, 4, 1), two=nn.Conv2d(4, 1, 1),
    )  # fmt: skip
    assert together(labels, ("two.weight", 1, 0), ("one.weight", 0, 3))


def test_a_module_that_does_not_run_says_so() -> None:
    with pytest.raises(UserError, match="Linear does not run on the example: RuntimeError: .*shapes"):
        label(nn.Linear(3, 4), (torch.zeros(2, 5),))


@pytest.mark.parametrize("name", SMALL)
def test_well_known_networks_are_understood(name: str) -> None:
    build, side = SMALL[name]
    labels = label(build(), (torch.empty(2, 3, side, side, device="meta"),))
    assert not labels.unknown and labels.tensors
    free = [set(labels.classes(*place).tolist()) - {labels.fixed} for place in labels.first]
    assert len(set().union(*free)) > 250


def test_a_part_of_no_length_says_which_channels_the_rest_has() -> None:
    """So features of boxes are, where nobody has computed any boxes."""
    labels = run(
        lambda m, x: m.two(torch.cat([m.one(x)[:0], x.new_empty(1).expand(5, 4, 8, 8)])),
        one=nn.Conv2d(3, 4, 1), two=nn.Conv2d(4, 1, 1),
    )  # fmt: skip
    assert all(together(labels, ("one.weight", 0, i), ("two.weight", 1, i)) for i in range(4))
