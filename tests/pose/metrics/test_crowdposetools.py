"""CrowdPose's own program, where it is installed; here a stand-in with its interface."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from supernet.errors import UserError
from supernet.pose.metrics.crowdposetools import CrowdPoseTools


class Index:
    """crowdposetools.coco.COCO."""

    def __init__(self, file: str) -> None:
        self.content = json.loads(Path(file).read_text())
        self.results: Any = None

    def loadRes(self, results: Any) -> Index:  # noqa: N802
        assert isinstance(results, list)
        self.results = results
        return self


class Evaluation:
    """crowdposetools.cocoeval.COCOeval."""

    def __init__(self, index: Index, found: Index, kind: str) -> None:
        assert kind == "keypoints" and index.content == {"images": [{"id": 1}]} and found.results == [{"score": 1.0}]
        self.steps = ""
        self.stats: list[float] = []

    def evaluate(self) -> None:
        self.steps += "e"

    def accumulate(self) -> None:
        self.steps += "a"

    def summarize(self) -> None:
        print("a table that nobody asked for")
        assert self.steps == "ea"
        self.stats = [number / 100 for number in range(11)]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were there."""
    for name, content in (("coco", {"COCO": Index}), ("cocoeval", {"COCOeval": Evaluation})):
        module = types.ModuleType(f"crowdposetools.{name}")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "crowdposetools", types.ModuleType("crowdposetools"))


@pytest.mark.usefixtures("installed")
def test_the_programs_own_numbers_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Quietly; nothing found is nothing scored."""
    evaluator = CrowdPoseTools({"images": [{"id": 1}]})
    scores = evaluator.evaluate([{"score": 1.0}])
    assert scores == {
        "AP": 0.0, "AP50": 0.01, "AP75": 0.02, "AR": 0.05, "AR50": 0.06, "AR75": 0.07, "APeasy": 0.08, "APmedium": 0.09,
        "APhard": 0.1,
    }  # fmt: skip
    assert evaluator.evaluate([])["AP"] == 0.0
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="crowdposetools failed: .*; write TEST.METRIC_BACKEND pycocotools"):
        evaluator.evaluate([{"score": 2.0}])


def test_it_is_refused_where_it_is_not_installed() -> None:
    """With the way out."""
    with pytest.raises(UserError, match="crowdposetools is not installed.*write pycocotools"):
        CrowdPoseTools({})
