"""Gradients of parts are added to the parameter's own at once, unless somebody could see a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Space, choice
from supernet import Supernet
from supernet.sharing import gradients


@dataclass(frozen=True)
class Arch:
    width: int
    kernel: int


def build(arch: Arch) -> nn.Module:
    """Two convolutions, the second of which is cut in all four dimensions."""
    return nn.Sequential(
        nn.Conv2d(3, arch.width, 1), nn.Tanh(), nn.Conv2d(arch.width, arch.width, arch.kernel, padding=arch.kernel // 2)
    )


SPACE: Space[Arch] = Space(Arch(choice(2, 3, 4), choice(3, 5)))
IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
SMALL = Arch(3, 3)


@pytest.fixture
def supernet(monkeypatch: pytest.MonkeyPatch) -> Supernet[Arch]:
    """Every parameter of it is large."""
    monkeypatch.setattr(gradients, "LARGE", 1)
    torch.manual_seed(0)
    return Supernet(build, SPACE)


def weight(supernet: Supernet[Arch]) -> Any:
    """Of the second convolution."""
    return supernet.network.get_parameter("2.weight")


def run(supernet: Supernet[Arch], arch: Arch = SMALL) -> Tensor:
    """A loss."""
    loss: Tensor = supernet(IMAGES, arch).square().sum()
    return loss


def plain(monkeypatch: pytest.MonkeyPatch, supernet: Supernet[Arch], archs: list[Arch]) -> list[Tensor | None]:
    """Gradients by autograd's own slices."""
    monkeypatch.setattr(gradients, "LARGE", 2**60)
    supernet.zero_grad()
    for arch in archs:
        run(supernet, arch).backward()
    found = [None if p.grad is None else p.grad.clone() for p in supernet.parameters()]
    monkeypatch.setattr(gradients, "LARGE", 1)
    supernet.zero_grad()
    return found


def test_a_sandwich_adds_up_to_the_same(supernet: Supernet[Arch], monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, and into one tensor."""
    archs = [SPACE.largest, SPACE.smallest, SMALL]
    expected = plain(monkeypatch, supernet, archs)
    run(supernet, SMALL).backward()
    buffer = weight(supernet).grad
    supernet.zero_grad(set_to_none=False)
    for arch in archs:
        run(supernet, arch).backward()
    assert weight(supernet).grad is buffer
    for parameter, gradient in zip(supernet.parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert gradient is not None
        assert torch.equal(parameter.grad, gradient)


def test_whoever_wants_the_gradient_itself_has_it(supernet: Supernet[Arch], monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.autograd.grad``, and a backward pass that leaves parameters out."""
    expected = plain(monkeypatch, supernet, [SMALL])
    found = torch.autograd.grad(run(supernet), list(supernet.parameters()))
    assert all(torch.equal(mine, own) for mine, own in zip(found, expected, strict=True) if own is not None)
    assert all(parameter.grad is None for parameter in supernet.parameters())
    first = supernet.network.get_parameter("0.weight")
    run(supernet).backward(inputs=[first])  # type: ignore[no-untyped-call]
    assert weight(supernet).grad is None
    assert expected[0] is not None
    assert first.grad is not None
    assert torch.equal(first.grad, expected[0])


def test_hooks_see_the_whole_gradient(supernet: Supernet[Arch], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tensor may change it; those behind the accumulation find all of it."""
    expected = plain(monkeypatch, supernet, [SMALL])[2]
    assert expected is not None
    handle = weight(supernet).register_hook(lambda gradient: 2 * gradient)
    run(supernet).backward()
    assert torch.equal(weight(supernet).grad, 2 * expected)
    handle.remove()
    supernet.zero_grad()
    seen: list[Tensor] = []
    weight(supernet).register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad.clone()))
    run(supernet).backward()
    assert torch.equal(seen[0], expected)


def test_second_derivatives(supernet: Supernet[Arch]) -> None:
    """The gradient of a gradient's norm, against the extracted network's."""
    subnet = supernet.extract(SMALL)
    norms = []
    for module, loss in ((supernet, run(supernet)), (subnet, subnet(IMAGES).square().sum())):
        parameters = list(module.parameters())
        norm = sum(g.square().sum() for g in torch.autograd.grad(loss, parameters, create_graph=True))
        assert isinstance(norm, Tensor)
        norm.backward()  # type: ignore[no-untyped-call]
        norms.append(norm.detach())
    torch.testing.assert_close(norms[0], norms[1])
    torch.testing.assert_close(weight(supernet).grad[:3, :3, 1:4, 1:4], subnet.get_parameter("2.weight").grad)


def test_function_transforms(supernet: Supernet[Arch], monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.func.grad`` over the supernet's parameters."""
    expected = plain(monkeypatch, supernet, [SMALL])[2]
    tensors = {name: parameter.detach() for name, parameter in supernet.named_parameters()}

    def loss(tensors: dict[str, Tensor]) -> Tensor:
        out: Tensor = torch.func.functional_call(supernet, tensors, (IMAGES, SMALL)).square().sum()
        return out

    found = torch.func.grad(loss)(tensors)["network.2.weight"]
    torch.testing.assert_close(found, expected)
