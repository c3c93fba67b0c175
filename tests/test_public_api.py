"""``from supernet import …``: what it offers, what it imports, and that each name works on a network that nobody here wrote."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import supernet
from search_spaces import Space, choice
from supernet import (
    NSGA2,
    CostModel,
    CostTable,
    Evolution,
    Journal,
    PoseEstimator,
    PredictorSearch,
    RandomSearch,
    Sampler,
    Supernet,
    UserError,
    audit,
    calibrate,
    check_alignment,
    count,
    fuse_batchnorm,
    load_checkpoint,
    one_by_one,
    peak_memory,
    run_search,
    search_front,
    share,
    sort_channels,
    stages,
    write_onnx,
)

SOURCE = Path(supernet.__file__).read_text()


@dataclass(frozen=True)
class Arch:
    width: int
    kernel: int
    input_hw: tuple[int, int] = (16, 16)


class Scale(nn.Module):
    """A module type with a weight that no rule knows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@share.register
def _share_scale(small: Scale, big: Scale) -> dict[str, Any]:
    return {"factor": (slice(0, len(small.factor)), slice(None), slice(None))}


def build(arch: Arch) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, arch.width, arch.kernel, padding=arch.kernel // 2),
        nn.BatchNorm2d(arch.width),
        nn.ReLU(),
        Scale(arch.width),
        nn.Conv2d(arch.width, 2, 1),
    )


SPACE: Space[Arch] = Space(Arch(choice(4, 6, 8), choice(1, 3, 5)))
IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def score(arch: Arch) -> float:
    return arch.width + 0.1 * arch.kernel


# ------------------------------------------------------------------------------------------------------- what is imported


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    program = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_imports_nothing_else() -> None:
    assert not packages(loaded_by("import supernet")) & {"torch", "numpy", "pandas", "scipy", "cv2", "yaml"}


def test_the_supernet_costs_little_beyond_torch() -> None:
    """Modules are counted, not seconds: those of torch and numpy are there already, and ours are a handful."""
    more = loaded_by("from supernet import Supernet, audit, calibrate, Sampler") - loaded_by("import torch")
    assert packages(more) <= {"supernet", "torch", "numpy", *sys.stdlib_module_names} and len(more) < 40


def test_a_search_with_a_journal_takes_no_pandas() -> None:
    modules = packages(loaded_by("from supernet import NSGA2, CostModel, Journal, run_search, count"))
    assert not modules & {"pandas", "scipy", "matplotlib", "cv2", "bokeh"}


def test_every_name_is_there_for_type_checkers_and_at_run_time() -> None:
    (checked,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    typed = {alias.name: node.module for node in imports for alias in node.names}
    assert typed == supernet._PLACES
    assert sorted(typed) == sorted(supernet.__all__)
    assert all(getattr(supernet, name).__name__ == name for name in supernet.__all__)
    assert len(SOURCE.splitlines()) <= 60


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        AttributeError, match="module 'supernet' has no attribute 'Supernett'; there are NSGA2, CostModel"
    ):
        getattr(supernet, "Supernett")  # noqa: B009
    assert not hasattr(supernet, "nothing")


def test_every_name_is_used_here() -> None:
    tree = ast.parse(Path(__file__).read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(supernet.__all__) <= used


# -------------------------------------------------------------------------------------------------------- what it can do


def test_from_training_to_an_extracted_network(tmp_path: Path) -> None:
    training = stages(SPACE, [{"name": "all", "open": list(SPACE.kinds), "steps": 1}])
    assert audit(build, SPACE, training) == sum(parameter.numel() for parameter in build(SPACE.largest).parameters())
    assert check_alignment(build, SPACE) < 1e-10
    net = Supernet(build, SPACE)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for arch in Sampler(training[0].space).draw(np.random.default_rng(0)):
        net(IMAGES, arch).square().mean().backward()
    optimizer.step()
    sort_channels(net.network, (1, 3, 16, 16))
    arch = Arch(6, 3)
    network = net.eval().extract(arch)
    assert torch.equal(network(IMAGES), net(IMAGES, arch))
    assert calibrate(network, IMAGES.split(2)) == 4
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    again = build(arch).eval()
    assert load_checkpoint(again, tmp_path / "weights.pt").missing == ()
    assert torch.equal(again(IMAGES), network(IMAGES))
    fused = fuse_batchnorm(network, IMAGES)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    torch.testing.assert_close(fused(IMAGES), network(IMAGES))


def test_costs() -> None:
    model, arch = CostModel(build, SPACE), Arch(6, 3)
    code = SPACE.encode(arch)[None]
    cost = count(build(arch), (1, 3, 16, 16))
    assert (model.macs(code)[0], model.params(code)[0]) == (cost.macs, cost.params)
    assert model.memory(code)[0] == peak_memory(build(arch), (1, 3, 16, 16))


@pytest.mark.parametrize(
    "search",
    [
        lambda costs, rng: NSGA2(SPACE, costs, rng, population=4, objectives=("memory",)),
        lambda costs, rng: PredictorSearch(SPACE, costs, rng, population=4, objectives=("macs", "memory")),
        lambda costs, rng: RandomSearch(SPACE, costs, rng, population=4, limits={"macs": 50_000}),
        lambda costs, rng: Evolution(SPACE, costs, rng, population=4, limits={"memory": 20_000}),
    ],
    ids=["NSGA2", "PredictorSearch", "RandomSearch", "Evolution"],
)
def test_searches_with_and_without_a_journal(search: Callable[..., Any], tmp_path: Path) -> None:
    model = CostModel(build, SPACE)
    costs = CostTable({"macs": model.macs, "memory": model.memory})
    front = search_front(search(costs, np.random.default_rng(0)), score, 8)
    assert front and all(set(cost) == {"macs", "memory"} for _, cost, _ in front)

    def evaluate(arch: Arch) -> dict[str, float]:
        return {"accuracy": score(arch)}

    def journal() -> Journal[Arch]:
        return Journal(tmp_path / "journal.jsonl", space=SPACE.fingerprint, seed=0, settings={}, to_json=asdict)

    found = run_search(
        search(costs, np.random.default_rng(0)), one_by_one(evaluate), journal(), 8, score_key="accuracy"
    )
    assert found and found == run_search(
        search(costs, np.random.default_rng(0)), one_by_one(lambda _: {}), journal(), 8, score_key="accuracy"
    )


def test_without_objectives_the_front_is_the_best_architecture() -> None:
    seen: dict[Arch, float] = {}

    def remembered(arch: Arch) -> float:
        return seen.setdefault(arch, score(arch))

    searcher = Evolution(SPACE, CostModel(build, SPACE), np.random.default_rng(0), population=4)
    ((arch, _, best),) = search_front(searcher, remembered, 6)
    assert best == max(seen.values()) == score(arch)


def test_a_journal_wants_macs(tmp_path: Path) -> None:
    costs = CostTable({"params": CostModel(build, SPACE).params})
    journal = Journal[Arch](tmp_path / "j", space=SPACE.fingerprint, seed=0, settings={}, to_json=asdict)
    searcher = NSGA2(SPACE, costs, np.random.default_rng(0), objectives=("params",))
    with pytest.raises(UserError, match="the journal records 'macs', the costs are params; add 'macs' to them"):
        run_search(searcher, one_by_one(lambda arch: {"AP": 0.0}), journal, 4)


def test_export(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = build(Arch(6, 3))
    with pytest.raises(
        UserError, match="net.onnx: the network is in training mode, and would be exported so; call its"
    ):
        write_onnx(network, IMAGES, tmp_path / "net.onnx")
    with pytest.raises(
        UserError, match="net.onnx: dynamic is 'all'; write one of batch, size, or '' for a fixed shape"
    ):
        write_onnx(network.eval(), IMAGES, tmp_path / "net.onnx", dynamic="all")
    assert write_onnx(network, IMAGES, str(tmp_path / "net.onnx")) > 10
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": IMAGES.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_the_estimator_takes_files_that_describe_themselves(tmp_path: Path) -> None:
    torch.save(build(Arch(6, 3)).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(UserError, match="plain.pt"):
        PoseEstimator(tmp_path / "plain.pt")
