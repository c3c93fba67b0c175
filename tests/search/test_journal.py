"""The search journal: what was written is read back, whatever kill came between, and nothing foreign is taken."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from supernet.errors import UserError
from supernet.search.journal import Journal, canonical_key, read_journal, records_frame

Arch = tuple[int, int]


def journal(path: Path, **changes: Any) -> Journal[Arch]:
    arguments: dict[str, Any] = {"space": "abc", "seed": 1, "settings": {"images": 100, "sizes": (1, 2)}}
    return Journal(path, **{**arguments, **changes}, to_json=lambda arch: {"kernel": arch[0], "depth": arch[1]})


def filled(path: Path) -> Journal[Arch]:
    book = journal(path)
    costs, metrics = {"memory": 2.5e6}, {"AP": 0.1, "APlarge": math.nan}
    book.add((3, 1), algorithm="nsga2", macs=10, metrics=metrics, seconds=1.5, costs=costs)
    book.add((5, 2), algorithm="random", macs=20, metrics={"AP": 0.2, "APlarge": 0.3}, seconds=2.5)
    return book


def test_records_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    book, again = filled(tmp_path / "a" / "j.jsonl"), journal(tmp_path / "a" / "j.jsonl")
    assert len(again) == 2 and repr(again.records) == repr(book.records)
    record = again.find((5, 2))
    assert record is not None and record == book.find((5, 2))
    assert (record.arch, record.algorithm, record.macs) == ({"kernel": 5, "depth": 2}, "random", 20)
    assert record.metrics == {"AP": 0.2, "APlarge": 0.3} and record.seconds == 2.5
    assert again.find((7, 2)) is None
    first = again.find((3, 1))
    assert first is not None and math.isnan(first.metrics["APlarge"])


def test_every_line_is_strict_json_and_is_on_the_disk_at_once(tmp_path: Path) -> None:
    book = journal(tmp_path / "j")
    for count in range(3):
        lines = (tmp_path / "j").read_text().splitlines()
        assert len(lines) == 1 + count
        for line in lines:
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        book.add((count, 1), algorithm="random", macs=1, metrics={"AP": math.nan}, seconds=0.0)


def test_a_kill_at_any_byte_of_the_last_line_loses_that_line_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    for end in (start + 1, (start + len(content)) // 2, len(content) - 1):
        (tmp_path / "torn").write_bytes(content[:end])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            book = journal(tmp_path / "torn")
        assert len(book) == 1 and "dropped a last line that was cut off" in caplog.text
        book.add((5, 2), algorithm="random", macs=20, metrics={"AP": 0.2, "APlarge": 0.3}, seconds=2.5)
        assert (tmp_path / "torn").read_bytes() == content


def test_a_kill_within_the_header_starts_over(tmp_path: Path) -> None:
    filled(tmp_path / "whole")
    (tmp_path / "torn").write_bytes((tmp_path / "whole").read_bytes()[:20])
    assert len(journal(tmp_path / "torn")) == 0
    assert len(read_journal(tmp_path / "torn")[1]) == 0
    (tmp_path / "empty").touch()
    assert len(journal(tmp_path / "empty")) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "def"}, "made with space 'abc', this run has 'def'"),
        ({"seed": 2}, "made with seed 1, this run has 2"),
        ({"settings": {"images": 99, "sizes": (1, 2)}}, "made with settings images 100, this run has 99"),
        ({"settings": {"images": 100}}, r"made with settings sizes \[1, 2\], this run has None"),
    ],
)
def test_a_journal_of_something_else_is_refused_in_one_line(tmp_path: Path, changes: Any, message: str) -> None:
    filled(tmp_path / "j")
    with pytest.raises(UserError, match=message) as caught:
        journal(tmp_path / "j", **changes)
    assert str(tmp_path / "j") in str(caught.value) and "\n" not in str(caught.value)
    assert len(journal(tmp_path / "j")) == 2


def test_no_record_twice(tmp_path: Path) -> None:
    book = filled(tmp_path / "j")
    with pytest.raises(ValueError, match="already has a record"):
        book.add((3, 1), algorithm="random", macs=10, metrics={"AP": 0.1}, seconds=1.0)
    lines = (tmp_path / "j").read_text().splitlines(keepends=True)
    (tmp_path / "j").write_text("".join([*lines, lines[1]]))
    with pytest.raises(UserError, match="line 4 repeats the record"):
        journal(tmp_path / "j")


@pytest.mark.parametrize("line", ["{", "[]", '{"key": "x"}', '{"key": "x", "metrics": 3}', "\x00\x00"])
def test_a_spoilt_line_is_named(tmp_path: Path, line: str) -> None:
    filled(tmp_path / "j")
    lines = (tmp_path / "j").read_text().splitlines()
    (tmp_path / "j").write_text("\n".join([*lines[:2], line, lines[2]]) + "\n")
    with pytest.raises(UserError, match="line 3 is not a record"):
        journal(tmp_path / "j")
    (tmp_path / "j").write_text("\n".join([line, *lines[1:]]) + "\n")
    with pytest.raises(UserError, match="line 1 is not a header of a search journal"):
        read_journal(tmp_path / "j")


def test_another_format_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    filled(tmp_path / "j")
    header, *rest = (tmp_path / "j").read_text().splitlines()
    rest = [json.dumps({k: v for k, v in json.loads(line).items() if k not in ("costs", "stage")}) for line in rest]
    (tmp_path / "j").write_text("\n".join([header.replace('"format": 2', '"format": 1'), *rest]) + "\n")
    with pytest.raises(UserError, match="journal format 1, this version reads 2; use another folder"):
        read_journal(tmp_path / "j")
    with pytest.raises(UserError, match="no such search journal"):
        read_journal(tmp_path / "none")


def test_reading_does_not_touch_the_file(tmp_path: Path) -> None:
    filled(tmp_path / "j")
    torn = (tmp_path / "j").read_bytes()[:-3]
    (tmp_path / "j").write_bytes(torn)
    assert [record.macs for record in read_journal(tmp_path / "j")[1]] == [10]
    assert (tmp_path / "j").read_bytes() == torn


def test_keys_do_not_depend_on_the_order_of_names() -> None:
    assert canonical_key({"b": [1, 2], "a": None}) == canonical_key({"a": None, "b": [1, 2]}) == '{"a":null,"b":[1,2]}'


def test_records_as_a_table(tmp_path: Path) -> None:
    table = records_frame(filled(tmp_path / "j").records)
    assert list(table.columns) == ["algorithm", "stage", "macs", "memory", "AP", "APlarge", "seconds", "arch"]
    assert table["macs"].tolist() == [10, 20] and table["arch"][1] == '{"depth":2,"kernel":5}'
    assert list(records_frame([]).columns) == ["algorithm", "stage", "macs", "seconds", "arch"]


def test_an_architecture_has_one_record_at_each_stage(tmp_path: Path) -> None:
    book = filled(tmp_path / "j")
    book.add((3, 1), algorithm="nsga2", macs=10, metrics={"loss": 0.5}, seconds=0.1, stage="loss on 8 images")
    with pytest.raises(ValueError, match="already has a record of stage 'loss on 8 images'"):
        book.add((3, 1), algorithm="nsga2", macs=10, metrics={"loss": 0.5}, seconds=0.1, stage="loss on 8 images")
    again = journal(tmp_path / "j")
    cheap, whole = again.find((3, 1), "loss on 8 images"), again.find((3, 1))
    assert cheap is not None and cheap.metrics == {"loss": 0.5} and len(again) == 3
    assert whole is not None and whole.stage == "full" and whole.costs == {"memory": 2.5e6}
    assert again.find((5, 2), "loss on 8 images") is None
