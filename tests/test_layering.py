"""Which room may import which, read from the sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

#: Every room, from the ground up: a room may import itself and the rooms that LAYERS puts below it.
LAYERS = (
    ("supernet.errors",),
    ("supernet.distributed", "supernet.io"),
    ("supernet.sharing", "supernet.config"),
    ("supernet.cost",),
    ("supernet.training", "supernet.search", "supernet.deploy"),
    ("supernet",),  # the public API
    ("supernet.pose",),
    ("supernet.report",),
    ("supernet.pipeline",),
    ("supernet.cli",),
    ("tools", "root", "experiments"),
)
#: Only these know search spaces.
JOIN = {"supernet.pipeline", "supernet.cli", "tools", "root", "experiments"}


def _below() -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {"search_spaces": set()}
    below: set[str] = set()
    for layer in LAYERS:
        for room in layer:
            rooms[room] = below | ({"search_spaces"} if room in JOIN else set())
        below = below | set(layer)
    rooms["supernet"] |= {"supernet.pose"}  # the public API offers its PoseEstimator
    rooms["supernet.pose"] -= {"supernet"}
    rooms["supernet.report"] -= {"supernet"}
    return rooms


# Room -> rooms of this project that it may import. A room may import itself.
MAY_IMPORT = _below()
# Here anything else from outside is refused too, so that a network file can be read and taken with PyTorch alone.
OUTSIDE = {"search_spaces": {"torch", "numpy", *sys.stdlib_module_names}}


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


def layering_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    package = module if is_package else module.rpartition(".")[0]
    here = room_of(module)
    assert here is not None, f"{module} lies in no room"
    faults = []
    for line, name in imports(ast.parse(source), package):
        there = room_of(name)
        if there is None and name.partition(".")[0] not in OUTSIDE.get(here, {name.partition(".")[0]}):
            faults.append(
                f"{module}:{line} imports {name}; {here} may import torch, numpy and the standard library only"
            )
        elif there is not None and there != here and there not in MAY_IMPORT[here]:
            faults.append(f"{module}:{line} imports {name}; {here} may not import {there}")
    return faults


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


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("search_spaces.fake", "import supernet.errors"),
        ("search_spaces.fake", "def f():\n    import scipy.stats"),
        ("search_spaces.fake", "import numpy, yaml"),
        ("supernet.fake", "from search_spaces import litepose"),
        ("supernet.fake", "from supernet.pose.bottom_up.losses import ae_loss"),
        ("supernet.fake", "from supernet import pose"),
        ("supernet.fake", "from . import pipeline"),
        ("supernet.fake", "from .report.tables import table"),
        ("supernet.fake", "import importlib\nimportlib.import_module('search_spaces')"),
        ("supernet.pose.fake", "import search_spaces.litepose as x"),
        ("supernet.pose.data.fake", "from ...pipeline import run"),
        ("supernet.report.fake", "from ..pipeline import run"),
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
        ("supernet.fake", "import scipy, yaml\nfrom .errors import UserError\nfrom supernet import sharing"),
        (
            "supernet.pose.fake",
            "from ..errors import UserError\nfrom .skeletons import COCO\nfrom supernet.io.files import sha256",
        ),
        ("supernet.report.fake", "import pandas\nfrom supernet.search.pareto import front"),
        ("supernet.cli.fake", "import search_spaces, supernet.pose\nfrom ..report import tables"),
        ("tools.fake", "from supernet.cli import cli\nfrom tools import other"),
    ],
)
def test_the_checker_lets_right_imports_pass(module: str, source: str) -> None:
    assert layering_faults(source, module) == []


def test_the_checker_resolves_relative_imports_of_a_package_file() -> None:
    assert layering_faults("from ..pipeline import run", "supernet.pose", is_package=True)
    assert layering_faults("from . import skeletons", "supernet.pose", is_package=True) == []
