"""Tables, logs and journals that were edited or damaged: one line that names the file, the row and what helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supernet.cli.report import dataset_of, score_of
from supernet.cost.latency import LatencyTable
from supernet.errors import UserError
from supernet.io.tables import read_table
from supernet.pipeline.training_log import TrainingLog
from supernet.report.markdown import bullets, markdown_table
from supernet.report.tables import read_comparison, read_evaluated, read_front, unmet_of
from supernet.search.journal import Journal, read_journal
from supernet.search.ranking import read_standalone

FRONT = "name,macs,params,resolution,AP,arch\n1,100,10,64,0.5,{}\n2,200,20,64,0.6,{}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FRONT.replace("200", "x"), "front.csv: line 3: macs is 'x', no number from 0 on; run search.py first"),
        (FRONT.replace("200", "-2"), "line 3: macs is '-2', no number from 0 on"),
        (FRONT.replace("200", ""), "line 3: macs is '', no number from 0 on"),
        (FRONT.replace("200", "inf"), "line 3: macs is 'inf', no number from 0 on"),
        (FRONT.replace("0.6", "good"), "line 3: AP is 'good', no number"),
        (FRONT.replace("0.6,{}", "0.6,{"), r"line 3: arch is no architecture \(JSON\)"),
        (FRONT.replace("0.6,{}", f"0.6,{'[' * 100_000}"), r"line 3: arch is no architecture \(JSON\)"),
        (FRONT + "3,300\n", "line 4 has 2 cells, the header 6; run search.py first"),
        (FRONT + "3,300,30,64,0.7,{},1\n", "line 4 has 7 cells, the header 6"),
        (FRONT.replace("params", "macs"), "two columns of the same name"),
        (FRONT + '"', "not a table: line 4: "),
        (FRONT.replace("AP", "PCKh"), "no column 'AP'; there are name, macs"),
        ("", "not a table: it is empty"),
        (FRONT + "größe", r"not a table: no text in UTF-8 \(byte 76\)"),
    ],
)
def test_a_front_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "front.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=f"front.csv: .*{message.removeprefix('front.csv: ')}") as caught:
        read_front(tmp_path, "AP")
    assert "\n" not in str(caught.value)


def test_other_tables_have_the_same_reader(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    texts: dict[str, tuple[str, Callable[[], object]]] = {
        "search/found.csv": ("macs,AP\n1,0.5\n2,?\n", lambda: read_evaluated(tmp_path, "found", "AP")),
        "comparison.csv": (
            "name,macs,params,resolution,ap_transferred,ap_calibrated,ap_retrained,ap_scratch\nS,1,2,64,,,?,\n",
            lambda: read_comparison(tmp_path),
        ),
        "budgets.csv": ("name,limit,arch,reason\nS,1,{,\n", lambda: unmet_of(tmp_path)),
        "t.csv": ("macs,params,seed,search,test,arch\n1,1,?,1,1,{}\n", lambda: read_standalone(tmp_path / "t.csv")),
    }
    for name, (text, read) in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name}: line \d+: .* is "):
            read()


def test_a_huge_table_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("wb") as file:
        file.truncate(2 * 2**30)  # takes no room on the disk
    with pytest.raises(
        UserError, match="x.csv: cannot be read: has 2048 MiB, more than the 64 MiB allowed here; remove it"
    ):
        read_table(tmp_path / "x.csv", (), "remove it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "step,loss\n20,1\nx,2\n",
            "log.csv: line 3: step 'x' is no number of a step; remove it, and the training goes on",
        ),
        ("loss\n1\n", "log.csv: line 1: is no log, its first column is not 'step'"),
        ("step,loss\n20\n", "log.csv: line 2 has 1 cells, the header 2"),
        ('step,loss\n20,"', ""),  # torn: dropped
    ],
)
def test_logs_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(text)
    if not message:
        with TrainingLog(tmp_path, 40) as log:
            log.write(40, {"loss": 1.0})
        assert (tmp_path / "log.csv").read_text().splitlines() == ["step,loss", "40,1.0"]
        return
    with pytest.raises(UserError, match=message):
        TrainingLog(tmp_path, 40)


def test_a_log_is_kept_up_to_the_step(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n20,1\n40,2\n60,3\n80")
    with TrainingLog(tmp_path, 40) as log:
        log.write(60, {"loss": 4})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,loss", "20,1", "40,2", "60,4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DATASET: größe".encode("latin-1"), "config.yaml: not text in UTF-8"),
        (b"[" * 50_000, "config.yaml: not YAML: more than 32 levels"),
        (b"- 1\n", "config.yaml: is no mapping of keys to values; remove it"),
        (b"#" * 200_000, "config.yaml: cannot be read: has 200000 bytes, more than"),
        (b"DATASET: {DATASET: coco, SYNTHETIC: 3}", "config.yaml: names no dataset; give --dataset"),
        (b"DATASET: 5", "config.yaml: names no dataset; give --dataset"),
    ],
)
def test_configurations_of_runs_that_are_none(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(text)
    with pytest.raises(UserError, match=message):
        dataset_of(tmp_path)
    if "names no dataset" not in message:
        with pytest.raises(UserError, match=message):
            score_of(tmp_path)


def rows(**change: Any) -> dict[str, Any]:
    place = {"device": "cpu", "runtime": "eager", "threads": 1, "batch": 1, "machine": "m"}
    fitted = [{"code": [0, 1], "ms": 2.0}, {"code": [1, 1], "ms": 3.0}]
    return {"format": 1, "space": "abc", "place": place, "fitted": fitted, "checked": [], **change}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fitted": [{"code": [0, 1], "ms": 2.0}, {"code": [1], "ms": 3.0}]}, "rows of unequal length"),
        ({"fitted": [{"code": [0, "x"], "ms": 2.0}]}, r"fitted\[0\] needs 'code' \(whole numbers\) and 'ms'"),
        ({"fitted": [{"code": [0, 10**9], "ms": 2.0}]}, r"fitted\[0\] needs 'code'"),
        ({"checked": [{"code": [0, 1], "ms": -2}]}, r"checked\[0\] needs 'code' .* and 'ms' \(above 0\); remove"),
        ({"checked": [{"code": [0, 1], "ms": 1e400}]}, r"checked\[0\] needs"),
        ({"checked": [3]}, r"checked\[0\] needs"),
        ({"fitted": 3}, "'fitted' is no list"),
        ({"place": {}}, "not a latency table"),
        ({"place": rows()["place"] | {"threads": "x"}}, "a wrong type in 'place'"),
        ({"space": 3}, "not a latency table"),
    ],
)
def test_latency_tables_that_are_none(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text(json.dumps(rows(**change)))
    with pytest.raises(UserError, match=f"latency.json: {message}"):
        LatencyTable.load(tmp_path / "latency.json", "abc")


HEADER = {"format": 2, "space": "abc", "seed": 1, "settings": {}}
RECORD = {
    "key": '{"a":1}', "arch": {"a": 1}, "algorithm": "random", "macs": 5, "metrics": {"AP": 0.5}, "seconds": 1.0,
    "costs": {"params": 3}, "stage": "full",
}  # fmt: skip


@pytest.mark.parametrize(
    ("header", "record", "message"),
    [
        ({"settings": 3}, {}, r"line 1 is not a header of a search journal \(its 'settings' is no dict\)"),
        ({"space": []}, {}, r"line 1 is not a header of a search journal \(its 'space' is no str\)"),
        ({"seed": "x"}, {}, r"line 1 is not a header of a search journal \(its 'seed' is no int\)"),
        ({}, {"arch": {"a": 2}}, r"line 2 is not a record \(its key is not that of its architecture\)"),
        ({}, {"macs": -1}, r"line 2 is not a record \(its 'macs' is no whole number from 0 on\)"),
        ({}, {"macs": "5"}, r"line 2 is not a record \(its 'macs' is no whole number"),
        ({}, {"metrics": {"AP": "x"}}, r"line 2 is not a record \('AP' is no number\)"),
        ({}, {"metrics": {"AP": 10**400}}, "line 2 is not a record"),
        ({}, {"costs": {"params": []}}, r"line 2 is not a record \('params' is no number\)"),
        ({}, {"seconds": None}, r"line 2 is not a record \('seconds' is no number\)"),
        ({}, {"stage": 3}, r"line 2 is not a record \(its 'algorithm' or 'stage' is no text\)"),
        ({}, {"more": 3}, "line 2 is not a record"),
    ],
)
def test_journals_with_a_wrong_field(
    header: dict[str, Any], record: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(HEADER | header) + "\n" + json.dumps(RECORD | record) + "\n")
    with pytest.raises(UserError, match=f"journal.jsonl: {message}.*; correct or remove it"):
        read_journal(path)


def test_a_right_journal_is_read_and_a_device_is_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(HEADER) + "\n" + json.dumps(RECORD) + "\n")
    assert read_journal(path)[1][0].metrics == {"AP": 0.5}
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="zero: cannot be read: is a device, no regular file"):
        Journal(tmp_path / "zero", space="s", seed=0, settings={}, to_json=lambda arch: arch)


def test_reports_show_no_tags() -> None:
    import pandas as pd

    text = bullets({"a": "<script>alert(1)</script>"}) + markdown_table(pd.DataFrame({"<b>": ["</td><img src=x>"]}))
    assert "<" not in text and "&lt;script" in text
    assert bullets({"name -> MACs": "a < b"}) == "- name -> MACs: a < b"
