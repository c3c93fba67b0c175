"""What strangers write is data: no code that runs what it reads, no file that costs all memory, no name that leads out."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.mpii import mpii_people
from supernet.pose.keypoints import COCO
from tests.paths import ROOT

#: Calls that are refused, and what makes one harmless all the same: a keyword and its value.
DANGEROUS: dict[str, tuple[str, str] | None] = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path")),
    **dict.fromkeys(f"{module}.{name}" for module in ("pickle", "marshal", "dill") for name in ("load", "loads")),
    **dict.fromkeys(("pickle.Unpickler", "shelve.open", "joblib.load", "pandas.read_pickle", "jsonpickle.decode")),
    **dict.fromkeys(f"yaml.{name}" for name in ("full_load", "unsafe_load", "full_load_all", "unsafe_load_all")),
    "yaml.load": ("Loader", "yaml.SafeLoader"),
    "torch.load": ("weights_only", "True"),
}
#: Keywords that are refused wherever they stand, unless they say this.
KEYWORDS = {"shell": "False", "allow_pickle": "False", "weights_only": "True"}


def sources() -> Iterator[Path]:
    for folder in ("search_spaces", "supernet", "tools", "experiments"):
        yield from sorted((ROOT / folder).rglob("*.py"))
    yield from sorted(ROOT.glob("*.py"))


def faults(source: str) -> list[str]:
    """Dangerous calls in a source, also under names that an import gave them."""
    nodes = list(ast.walk(ast.parse(source)))
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def full(node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{full(node.value)}.{node.attr}"
        return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""

    found = []
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        words = [word for word in node.keywords if word.arg in KEYWORDS or word.arg == "Loader"]
        keywords = {word.arg: full(word.value) or ast.unparse(word.value) for word in words}
        name = full(node.func).removeprefix("builtins.")
        if name in DANGEROUS:
            harmless = DANGEROUS[name]
            if harmless is None or keywords.get(harmless[0]) != harmless[1]:
                found.append(f"line {node.lineno} calls {name}")
        elif any(keywords.get(word, value) != value for word, value in KEYWORDS.items()):
            found.append(f"line {node.lineno} calls {name} with {keywords}")
    return found


def test_nothing_runs_what_it_reads() -> None:
    found = [f"{path}: {fault}" for path in sources() for fault in faults(path.read_text())]
    assert not found, "\n".join(found)
    assert {ROOT / "train.py", ROOT / "supernet" / "io" / "checkpoint.py"} <= set(sources())


@pytest.mark.parametrize(
    "source",
    [
        "eval('models.' + name)",
        "import builtins\nbuiltins.exec(open(path).read())",
        "import pickle\npickle.load(file)",
        "import pickle as p\np.loads(data)",
        "from pickle import loads as read\nread(data)",
        "torch.load(path)",
        "from torch import load\nload(path)",
        "torch.load(path, weights_only=False)",
        "read(path, weights_only=flag)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "subprocess.run(command, shell=True)",
        "import os\nos.system(command)",
    ],
)
def test_the_checker_finds_dangerous_calls(source: str) -> None:
    assert len(faults(source)) == 1


def test_the_checker_lets_harmless_calls_pass() -> None:
    harmless = (
        "network.eval()\nre.compile(x)\ntorch.compile(network)\ntorch.load(path, weights_only=True)\nnp.load(path)\n"
        "yaml.safe_load(text)\nyaml.load(text, Loader=yaml.SafeLoader)\njson.load(file)\nsubprocess.run([program])"
    )
    assert faults(harmless) == []


def unfolding(link: str) -> str:
    """YAML whose last value stands for a billion of its first."""
    names = "abcdefghij"
    lines = [
        f"{name}: &{name} {link % ', '.join([f'*{below}'] * 9)}" for below, name in zip(names, names[1:], strict=False)
    ]
    return "\n".join(["a: &a {x: 1}", *lines])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "#" * 70_000,
            "x.yaml: cannot be read: has 70000 bytes, more than the 65536 bytes allowed here; give a YAML file",
        ),
        ("GPUS: " + "[" * 30_000, "x.yaml: not YAML: more than 32 levels or 20000 values"),
        ("\n".join(" " * depth + "a:" for depth in range(200)), "more than 32 levels"),
        (unfolding("[%s]"), "more than 32 levels or 20000 values"),
        (unfolding("{<<: [%s]}"), "more than 32 levels or 20000 values"),
        ("MODEL: &a {EXTRA: *a}", "x.yaml: not YAML: "),
        ("TRAIN: {LR: " + "9" * 5000 + "}", "x.yaml: not YAML: Exceeds the limit"),
        ("GPUS: !!python/object/apply:os.abort []", "x.yaml:1:7: not YAML: could not determine a constructor"),
    ],
)
def test_configurations_that_would_not_end_are_refused_at_once(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        load_config(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value) and time.process_time() - started < 5


def test_a_value_within_text_may_not_unfold_either() -> None:
    """What a YAML text within a value would unfold to stays a text."""
    text = unfolding("[%s]").replace("\n", ", ")
    cfg = load_config(None, ["MODEL.EXTRA.X", f"{{{text}}}"])
    assert cfg.MODEL.EXTRA.X == f"{{{text}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "x.json: not usable JSON: nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "x.json: not usable JSON: nested too deeply"),
        ("[" + "9" * 5000 + "]", "x.json: not usable JSON: Exceeds the limit"),
    ],
)
def test_json_that_is_too_deep_or_too_long_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_json(tmp_path / "x.json")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name, read, message in (
        ("x.json", read_json, "x.json: cannot be read: has 200 MiB, more than the 64 MiB allowed here"),
        ("x.yaml", load_config, "x.yaml: cannot be read: has 200 MiB"),
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(200 * 2**20)  # takes no room on the disk
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../x.jpg",
        "..\\x.jpg",
        "C:\\x.jpg",
        "x.zip@/../../y.jpg",
        "a\0.jpg",
        "a\nb",
        "\ud800",
    ],
)
def test_annotation_files_cannot_name_images_elsewhere(name: str, tmp_path: Path) -> None:
    coco: Any = {
        "images": [{"id": 1, "file_name": name, "width": 32, "height": 24}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
    }
    mpii = [{"image": name, "center": [5, 6], "scale": 1.5}]
    for content, read in (
        (coco, lambda path: PoseDataset(path, tmp_path, COCO)),
        (mpii, lambda path: mpii_people(path, tmp_path)),
    ):
        (tmp_path / "x.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match="leads out of|has unprintable characters") as caught:
            read(tmp_path / "x.json")
        assert "\n" not in str(caught.value) and str(caught.value).isprintable()
