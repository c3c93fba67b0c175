"""Layering, read from the sources: which room may import which, no circle of imports, no long file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

#: Every room, from the ground up: a room may import itself and the rooms of the layers below its own.
LAYERS = (
    ("search_spaces.space",),  # choices, of which a space of a module in hand is made too
    ("search_spaces", "supernet.errors"),
    ("supernet.distributed", "supernet.io"),
    ("supernet.sharing",),
    ("supernet.cost",),
    ("supernet.training", "supernet.search", "supernet.deploy", "supernet.config"),
    ("supernet.pose", "supernet.detection"),
    ("supernet.report",),
    ("supernet.pipeline",),
    ("supernet",),  # the public API, and what lies in no room
    ("supernet.cli",),
    ("tools", "root", "experiments"),
)
#: Only these see a configuration, and know search spaces.
JOIN = {"supernet.pipeline", "supernet.cli", "tools", "root", "experiments"}
MOST_LINES = 300


def _below() -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    below: set[str] = set()
    for layer in LAYERS:
        for room in layer:
            rooms[room] = below if room in JOIN else below - {"search_spaces", "search_spaces.space", "supernet.config"}
        below = below | set(layer)
    for room in ("search_spaces", "supernet.sharing"):
        rooms[room] = rooms[room] | {"search_spaces.space"}
    return rooms


# Room -> rooms of this project that it may import. A room may import itself.
MAY_IMPORT = _below()
# Here anything else from outside is refused too, so that a network file can be read and taken with PyTorch alone.
OUTSIDE = dict.fromkeys(("search_spaces", "search_spaces.space"), {"torch", "numpy", *sys.stdlib_module_names})


def room_of(module: str) -> str | None:
    """The room that a module name lies in; None where it is not of this project."""
    parts = module.split(".")
    for length in (2, 1):
        name = ".".join(parts[:length])
        if name in MAY_IMPORT or name == "tests":
            return name
    return "root" if len(parts) == 1 and (ROOT / f"{module}.py").exists() else None


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that the source names, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # with the imported name, since "from supernet import pose" may name a package
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            if node.args and isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value)


def package_of(module: str, is_package: bool) -> str:
    """What relative imports of a module are relative to."""
    return module if is_package else module.rpartition(".")[0]


def layering_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    here = room_of(module)
    assert here is not None, f"{module} lies in no room"
    faults = []
    for line, name in imports(ast.parse(source), package_of(module, is_package)):
        there = room_of(name)
        if there is None and name.partition(".")[0] not in OUTSIDE.get(here, {name.partition(".")[0]}):
            faults.append(
                f"{module}:{line} imports {name}; {here} may import torch, numpy and the standard library only"
            )
        elif there is not None and there != here and there not in MAY_IMPORT[here]:
            faults.append(f"{module}:{line} imports {name}; {here} may not import {there}")
    return faults


def import_graph(sources: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Module -> modules that it imports, also for type checkers and within functions.

    Args:
        sources: by the name of a module its text, and whether it is a package's ``__init__``.
    """
    graph: dict[str, set[str]] = {}
    for module, (text, is_package) in sources.items():
        names = [name for _, name in imports(ast.parse(text), package_of(module, is_package))]
        # a name is a module, or something within one
        found = (name if name in sources else name.rpartition(".")[0] for name in names)
        graph[module] = {name for name in found if name in sources}
    return graph


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle, its first one again at the end; [] where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))  # the sorter follows who is imported by whom
    return []


def sources() -> Iterator[tuple[str, Path]]:
    for folder in ("search_spaces", "supernet", "tools", "experiments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path
    for path in sorted(ROOT.glob("*.py")):
        yield path.stem, path


def test_the_rooms_import_downwards_only() -> None:
    found = list(sources())
    assert {"supernet.errors", "search_spaces", "supernet.pose"} <= {module for module, _ in found}
    faults = [
        fault
        for module, path in found
        for fault in layering_faults(path.read_text(), module, path.name == "__init__.py")
    ]
    assert not faults, "\n".join(faults)


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = import_graph({module: (path.read_text(), path.name == "__init__.py") for module, path in sources()})
    assert sum(map(len, graph.values())) > 400
    assert "supernet.sharing.slicing" in graph["supernet.sharing.supernet"]
    assert "supernet.pipeline.estimator" in graph["supernet"]  # which only type checkers import
    assert not circle(graph), " -> ".join(circle(graph))


def test_no_file_is_long() -> None:
    rooms = ("supernet", "search_spaces")
    lengths = {module: len(path.read_text().splitlines()) for module, path in sources() if module.startswith(rooms)}
    assert not {module: length for module, length in lengths.items() if length > MOST_LINES}


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ({"a": "import b", "a.x": "", "b": "from a import x"}, []),
        ({"a": "import b", "b": "def f():\n    import a"}, ["a", "b", "a"]),
        ({"a": "from b.c import value", "b": "", "b.c": "if TYPE_CHECKING:\n    import a"}, ["a", "b.c", "a"]),
        ({"a": "from a import value"}, ["a", "a"]),
        ({"a": "import b", "b": "import c", "c": "import b"}, ["b", "c", "b"]),
    ],
)
def test_the_checker_finds_circles(texts: dict[str, str], found: list[str]) -> None:
    graph = import_graph({module: (text, module == "a") for module, text in texts.items()})
    cycle = circle(graph)
    assert len(cycle) == len(found) and set(cycle) == set(found)
    assert all(imported in graph[module] for module, imported in zip(cycle, cycle[1:], strict=False))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("search_spaces.fake", "import supernet.errors"),
        ("search_spaces.fake", "def f():\n    import scipy.stats"),
        ("search_spaces.fake", "import numpy, yaml"),
        ("supernet.fake", "from search_spaces import litepose"),
        ("supernet.fake", "from .config import schema"),
        ("supernet.fake", "from . import cli"),
        ("search_spaces.space.fake", "from search_spaces import litepose"),
        ("supernet.sharing.fake", "from search_spaces import litepose"),
        ("supernet.search.fake", "from search_spaces.space import choice"),
        ("supernet.sharing.fake", "from supernet import Supernet"),
        ("supernet.sharing.fake", "from ..cost.macs import count"),
        ("supernet.search.fake", "from ..training import trainer"),
        ("supernet.search.fake", "from supernet.pose.bottom_up.losses import ae_loss"),
        ("supernet.search.fake", "from .. import pose"),
        ("supernet.training.fake", "from .. import pipeline"),
        ("supernet.deploy.fake", "from ..report.tables import table"),
        ("supernet.cost.fake", "import importlib\nimportlib.import_module('search_spaces')"),
        ("supernet.pose.fake", "import search_spaces.litepose as x"),
        ("supernet.pose.fake", "from ..config.schema import DEFAULTS"),
        ("supernet.pose.data.fake", "from ...pipeline import run"),
        ("supernet.detection.fake", "from search_spaces.layers.roi_align import roi_align"),
        ("supernet.detection.fake", "from ..pose.geometry import Affine"),
        ("supernet.report.fake", "from ..pipeline import run"),
        ("supernet.pipeline.fake", "from ..cli import train"),
        ("supernet.pipeline.fake", "from supernet import Supernet"),
        ("supernet.cli.fake", "import tools.profile"),
        ("supernet.cli.fake", "import experiments"),
        ("supernet.cli.fake", "from tests.paths import ROOT"),
        ("tools.fake", "from experiments import x"),
    ],
)
def test_the_checker_finds_a_wrong_import(module: str, source: str) -> None:
    assert len(layering_faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "search_spaces.fake",
            "import torch.nn, math, numpy as np\nfrom . import space\nfrom search_spaces.space import choice",
        ),
        ("supernet.fake", "import scipy, yaml\nfrom .errors import UserError\nfrom .pipeline import estimator"),
        ("supernet.search.fake", "import scipy, yaml\nfrom ..errors import UserError\nfrom supernet import sharing"),
        ("supernet.config.fake", "from ..cost.costs import COSTS"),
        ("supernet.sharing.fake", "from search_spaces.space import choice"),
        ("search_spaces.fake", "from .space import choice"),
        (
            "supernet.pose.fake",
            "from ..errors import UserError\nfrom .keypoints import COCO\nfrom supernet.io.files import sha256",
        ),
        ("supernet.report.fake", "import pandas\nfrom supernet.search.pareto import front"),
        ("supernet.pipeline.fake", "import search_spaces\nfrom ..config import schema\nfrom ..report import tables"),
        ("supernet.cli.fake", "import search_spaces, supernet.pose\nfrom ..report import tables"),
        ("tools.fake", "from supernet import Supernet\nfrom supernet.cli import cli\nfrom tools import other"),
    ],
)
def test_the_checker_lets_right_imports_pass(module: str, source: str) -> None:
    assert layering_faults(source, module) == []


def test_the_checker_resolves_relative_imports_of_a_package_file() -> None:
    assert layering_faults("from ..pipeline import run", "supernet.pose", is_package=True)
    assert layering_faults("from . import keypoints", "supernet.pose", is_package=True) == []
