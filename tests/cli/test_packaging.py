"""What is installed: every file that the packages read, the command with all its programs, settings that any folder finds."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import import_module
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supernet.cli import command, main
from tests.paths import ROOT

PACKAGES = ("search_spaces", "supernet")


def declared() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_package_data_are_all_files_that_are_no_code() -> None:
    """A file that no pattern covers would be missing in the wheel, and a pattern without files is out of date."""
    found, patterns = set(), []
    for package, globs in declared()["options.package_data"].items():
        folder = ROOT / package.replace(".", "/")
        patterns += [(folder, glob.strip()) for glob in globs.split(",")]
    for folder, glob in patterns:
        assert (files := set(folder.glob(glob))), f"{glob} in {folder}"
        found |= files
    files = {file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()}
    assert {file for file in files if file.suffix not in (".py", ".pyc")} == found


def test_every_folder_with_code_is_a_package() -> None:
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_the_console_script_and_its_programs_resolve() -> None:
    scripts = declared()["options.entry_points"]["console_scripts"].strip()
    assert scripts == "pose-supernet = supernet.cli.main:main"
    (script,) = entry_points(group="console_scripts", name="pose-supernet")
    assert script.load() is main.main
    wanted = {"search", "train", "transfer", "valid", "profile", "export", "demo", "report"}
    assert wanted <= set(main.PROGRAMS)
    for name in main.PROGRAMS:
        assert callable(import_module(f"supernet.cli.{name}").main), name


def test_only_tested_versions_of_python_are_declared() -> None:
    classifiers = declared()["metadata"]["classifiers"].splitlines()
    versions = [line.rpartition(":: ")[2] for line in classifiers if "Python :: 3" in line]
    assert versions == ["3.11", "3.12", "3.13"] and declared()["options"]["python_requires"] == ">=3.11"


def test_every_dependency_is_pinned() -> None:
    """Also those that only this Python, or only this build of torch, has."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [("pose-supernet", frozenset({"dev"}))]
    while waiting:
        name, extras = waiting.pop()
        found.add((name, extras))
        for needed in map(Requirement, requires(name) or ()):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                one = (canonicalize_name(needed.name), frozenset(needed.extras))
                waiting += [one] * (one not in found)
    assert len(found) > 60 and {name for name, _ in found} - pinned == {"pose-supernet"}


def test_settings_are_found_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = ROOT / "experiments" / "synthetic" / "litepose.yaml"
    for name in ("synthetic/litepose.yaml", "experiments/synthetic/litepose.yaml", str(wanted)):
        assert command.settings_file(name).resolve() == wanted
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "litepose.yaml").write_text("SEED: 1\n")
    assert command.settings_file("synthetic/litepose.yaml") == Path("synthetic/litepose.yaml")  # one's own comes first
    assert command.settings_file("none.yaml") == Path("none.yaml")


# ------------------------------------------------------------------------------------------------------- really built


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a fresh environment with the wheel in it; what the wheel depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("installed")
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    with tarfile.open(folder / "source.tar", "w") as archive:
        for name in files.stdout.splitlines():
            if (ROOT / name).exists():
                archive.add(ROOT / name, name)
    with tarfile.open(folder / "source.tar") as archive:
        archive.extractall(folder / "source", filter="data")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    building = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run([*pip, *building], cwd=folder / "source", check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    yield folder


def call(installed: Path, folder: Path, *arguments: object, code: int = 0) -> str:
    """What the installed command prints in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(installed / "venv" / "bin" / "pose-supernet"), *map(str, arguments)]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_architectures_and_settings(installed: Path) -> None:
    (wheel,) = installed.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    settings = {f"supernet/cli/{f.relative_to(ROOT)}" for f in (ROOT / "experiments").glob("*/*")}
    published = {str(file.relative_to(ROOT)) for file in (ROOT / "search_spaces" / "published").glob("*.*")}
    assert settings | published <= names
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, "pose_supernet-0.1.0.dist-info"}


@pytest.mark.slow
def test_every_installed_program_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """The whole loop in miniature, and each program on what it left."""
    small = (
        "--cfg", "synthetic/litepose.yaml", "DATASET.SYNTHETIC.TRAIN", 24, "DATASET.SYNTHETIC.VAL", 4, "THREADS", 1,
        "DATASET.SEARCH_IMAGES", 8, "DATASET.CALIBRATION_IMAGES", 8, "SEARCH.EVALUATIONS", 4, "SEARCH.POPULATION", 4,
        "SEARCH.RANDOM_BASELINE", 2, "RETRAIN.EPOCHS", 1, "DEVICE", "cpu",
        "SUPERNET.STAGES", "[{name: all, open: [kernel, depth, expansion, width, deconv_width], steps: 2}]",
    )  # fmt: skip
    assert "report.md" in call(installed, tmp_path, "search", *small)
    run = tmp_path / "output" / "synthetic" / "litepose"
    subnet = run / "subnets" / "XS"
    arch, weights = ("--superconfig", subnet / "arch.json"), ("TEST.MODEL_FILE", subnet / "weights.pt")
    assert "pareto.png" in call(installed, tmp_path, "report", run)
    assert "supernet" in call(installed, tmp_path, "train", *small)
    supernet = ("TEST.MODEL_FILE", run / "supernet" / "weights.pt")
    call(installed, tmp_path, "transfer", *small, *supernet, *arch)
    assert "AP" in call(installed, tmp_path, "valid", *small, *arch, *weights)
    assert "total" in call(installed, tmp_path, "profile", *small[:2], *arch)
    call(installed, tmp_path, "export", *small, *arch, *weights, "--out", "net.onnx")
    (tmp_path / "photo").mkdir()
    image = sorted((tmp_path / "data").rglob("*.jpg"))[0]
    image.rename(tmp_path / "photo" / "one.jpg")
    said = call(
        installed, tmp_path, "demo", *small, "--input", "photo", "--out", "poses", "TEST.MODEL_FILE", "net.onnx"
    )
    assert "on 1 images" in said and (tmp_path / "poses" / "poses.json").is_file()
