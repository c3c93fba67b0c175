"""Every settings file: it loads, and what its header says of commands, names and scores is true."""

from __future__ import annotations

import csv
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from search_spaces import FAMILIES
from supernet.config.loading import load_config
from supernet.pipeline.data import Data
from supernet.pipeline.models import family_name
from supernet.pipeline.run import Run
from supernet.pose.datasets.kinds import kind_of
from supernet.sharing.meta import meta_network
from tests.commands import fault
from tests.paths import ROOT

FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "experiments").glob("*/*.yaml"))}
DATASETS = {"coco": "coco", "crowd_pose": "crowdpose", "mpii": "mpii"}  # folder -> networks.csv


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers name files as they are seen from the root of the repository."""
    monkeypatch.chdir(ROOT)


def header(path: Path) -> str:
    """The comment at the top, with lines that end in a backslash joined to the next."""
    lines = path.read_text().splitlines()
    end = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").strip() for line in lines[:end]).replace("\\\n", " ")


def commands(path: Path) -> list[str]:
    """Every command in the header."""
    return [line for line in header(path).splitlines() if line.startswith("python ")]


def superconfigs(path: Path) -> list[str]:
    """What stands behind --superconfig in the header."""
    return sorted({name for line in commands(path) for name in re.findall(r"--superconfig +(\S+)", line)})


@cache
def make_run(name: str) -> Run:
    return Run(load_config(FILES[name]), FILES[name])


@cache
def outputs(family: str, arch: Any, joints: int) -> list[Tensor]:
    """Of the network on the meta device, for one image."""
    network = meta_network(partial(FAMILIES[family].build, joints=joints), arch).eval()
    with torch.inference_mode():
        out = network(torch.empty(1, 3, *arch.input_hw, device="meta"))
    return list(out) if isinstance(out, list) else [out]


def test_all_datasets_have_settings() -> None:
    """The folders of the published settings are found."""
    assert {Path(name).parent.name for name in FILES} >= set(DATASETS)


@pytest.mark.parametrize("name", list(FILES))
def test_it_loads_and_names_a_family_and_a_space(name: str) -> None:
    """In its own words, not by default; the task and the space that it describes can be made."""
    node, run = yaml.safe_load(FILES[name].read_text())["SPACE"], make_run(name)
    assert node["FAMILY"] == family_name(run.cfg)
    assert node["NAME"] in run.family.SPACES
    assert all(run.space.contains(arch) for arch in run.required.values())
    assert run.task.skeleton is kind_of(run.cfg.DATASET.DATASET).skeleton


@pytest.mark.parametrize("name", list(FILES))
def test_the_header_opens_with_a_command_that_runs(name: str) -> None:
    """Program, settings file and keys exist; the first line of the file is a command, and every command is about this file."""
    assert header(FILES[name]).startswith("python ")
    for command in commands(FILES[name]):
        assert fault(command) == ""
        assert command.split()[2:4] == ["--cfg", name]


@pytest.mark.parametrize("name", list(FILES))
def test_the_network_has_the_sizes_and_joints_of_the_file(name: str) -> None:
    """Input, heatmaps and joints that the file states are those of the networks its header names, or of its space's largest."""
    cfg, file = make_run(name).cfg, yaml.safe_load(FILES[name].read_text())
    stated = file["DATASET"]
    data = Data(cfg)
    joints = data.skeleton.num_joints
    assert cfg.MODEL.NUM_JOINTS in (0, joints)
    architectures = [make_run(name).architecture(item) for item in superconfigs(FILES[name])]
    searches = "python search.py" in header(FILES[name])  # its networks have sizes of their own
    if searches:
        architectures.append(make_run(name).space.largest)
    assert architectures
    for arch in architectures:
        found = outputs(family_name(cfg), arch, joints)
        if data.approach == "top-down":
            assert {tensor.shape[1] for tensor in found} == {joints}
            assert list(arch.input_hw[::-1]) == cfg.MODEL.IMAGE_SIZE
            heatmap_wh = list(found[0].shape[:1:-1])
            assert file["MODEL"].get("HEATMAP_SIZE", heatmap_wh) == heatmap_wh
            continue
        kinds = zip(cfg.LOSS.WITH_HEATMAPS_LOSS, cfg.LOSS.WITH_AE_LOSS, strict=True)
        assert [tensor.shape[1] for tensor in found] == [joints * (heatmaps + tags) for heatmaps, tags in kinds]
        assert len(found) == len(cfg.TEST.WITH_HEATMAPS) == len(cfg.TEST.WITH_AE)
        assert file.get("LOSS", {}).get("NUM_STAGES", len(found)) == len(found)
        if not searches and "INPUT_SIZE" in stated:
            assert arch.input_hw == (cfg.DATASET.INPUT_SIZE, cfg.DATASET.INPUT_SIZE)
        if not searches and "OUTPUT_SIZE" in stated:
            assert [tuple(tensor.shape[2:]) for tensor in found] == [(side, side) for side in cfg.DATASET.OUTPUT_SIZE]


@pytest.mark.parametrize("name", [name for name in FILES if Path(name).parent.name in DATASETS])
def test_the_header_has_the_published_score(name: str) -> None:
    """A score with its source, or that there is none; the one that networks.csv has, where it has one."""
    text = " ".join(header(FILES[name]).split())
    score = re.search(r"Score: (?:of the networks it leads to, )?(?:none |(?:AP|PCKh@0\.5) (?:XS )?([\d.]+\d))", text)
    if score is None:  # a run of this project's own, whose score is in the log
        assert re.search(r"\bAP 0\.\d+ \(experiments/LOG\.md\)", text)
        return
    if score[1] is None:
        return
    source = re.search(r"\((\w[\w-]* (?:README|slides))", text[score.start() :])
    assert source is not None
    sizes = {"x".join(map(str, make_run(name).architecture(item).input_hw)) for item in superconfigs(FILES[name])}
    with (ROOT / "search_spaces" / "published" / "networks.csv").open() as file:
        published = {
            float(row["score"].split(" / ")[0])
            for row in csv.DictReader(file)
            if row["source"].startswith(source[1])
            and row["dataset"].split(" ")[0] == DATASETS[Path(name).parent.name]
            and row["input_hw"] in sizes
        }
    assert not published or float(score[1]) in published
