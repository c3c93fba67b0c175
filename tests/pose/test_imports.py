"""The rooms of pose: neither approach knows the other, and no module imports itself over others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

POSE = ROOT / "supernet" / "pose"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file imports, wherever the statement stands."""
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


MODULES = {module_of(path): set(imported(path)) for path in sorted(POSE.rglob("*.py"))}


def test_no_circles() -> None:
    graph = {module: names & MODULES.keys() - {module} for module, names in MODULES.items()}
    assert sum(map(len, graph.values())) > 100
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_approaches_do_not_know_each_other() -> None:
    for one, other in (("bottom_up", "top_down"), ("top_down", "bottom_up")):
        for module, names in MODULES.items():
            if module.startswith(f"supernet.pose.{one}"):
                assert not [name for name in names if name.startswith(f"supernet.pose.{other}")], module


def test_datasets_metrics_and_geometry_know_no_approach() -> None:
    for module, names in MODULES.items():
        if not module.startswith(("supernet.pose.bottom_up", "supernet.pose.top_down")):
            assert not [name for name in names if name.startswith(("supernet.pose.bottom_up", "supernet.pose.top_down"))], module  # fmt: skip # noqa: E501


def test_nobody_outside_asks_which_task_or_dataset_it_has() -> None:
    """Tasks and datasets answer through their protocol; only what makes a task knows the two of them."""
    classes = ("BottomUpTask", "TopDownTask", "PeopleDataset", "PoseDataset")
    for folder in ("supernet", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                    assert not any(name in ast.unparse(node.args[1]) for name in classes), f"{path}:{node.lineno}"
                elif isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
                    sides = {ast.unparse(side) for side in (node.left, *node.comparators)}
                    assert not sides & {"COCO", "CROWDPOSE", "MPII"}, f"{path}:{node.lineno}"
