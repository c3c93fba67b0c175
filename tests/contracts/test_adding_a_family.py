"""A further family is one file and one line: the smallest whole family of CONTRIBUTING.md keeps the contracts, and is found."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from search_spaces import FAMILIES
from supernet.config.loading import load_config
from supernet.pipeline.run import Run
from tests.contracts import test_family as contracts
from tests.paths import ROOT

#: What the document leaves out.
IMPORTS = """from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from .layers.convolutions import conv_bn
from .published.catalogue import Published
from .space import Space, choice, codec

"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The family of the document as ``search_spaces/tiny.py``, in the table of families."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    example = re.search(r"^The smallest whole family.*?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "tiny.py").write_text(example[1] if "import" in example[1] else IMPORTS + example[1])
    spec = spec_from_file_location("search_spaces.tiny", tmp_path / "tiny.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "search_spaces.tiny", module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(FAMILIES, "tiny", module)
    return module


@pytest.mark.parametrize(
    "contract",
    [
        contracts.test_names_and_shapes_grow,
        contracts.test_extracted_computes_exactly_what_the_supernet_computed,
        contracts.test_json_round_trip,
        contracts.test_alignment,
    ],
    ids=lambda contract: contract.__name__,
)
def test_the_smallest_family_keeps_the_contracts(tiny: ModuleType, contract: Callable[[Any], None]) -> None:
    for space in tiny.SPACES.values():
        contract((tiny, space))


def test_a_configuration_finds_it(tiny: ModuleType) -> None:
    """By its name, with its space, its costs and the joints of the dataset."""
    file = ROOT / "experiments" / "synthetic" / "hrnet.yaml"
    run = Run(load_config(file, ["SPACE.FAMILY", "tiny", "SPACE.NAME", "published", "SPACE.RESTRICT", "{}"]), file)
    assert run.family is tiny and run.space.size == 4
    assert run.costs.params(run.space.all_codes()).min() == (8 * 3 * 9 + 2 * 8) + (8 + 1) * run.skeleton.num_joints
