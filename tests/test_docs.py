"""Documents: every link leads somewhere, every command would be accepted, every configuration key is explained."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import pytest
from torch import nn

from search_spaces import FAMILIES
from supernet.cli import main, search
from supernet.cli.command import SCRIPTS
from supernet.config import schema
from supernet.config.loading import load_config
from supernet.config.schema import DEFAULTS
from supernet.errors import UserError
from tests.commands import PROGRAMS, fault, missing_files
from tests.paths import ROOT
from tools import model_zoo
from tools.cli_reference import TOOLS
from tools.cli_reference import reference as cli_reference
from tools.config_reference import STAGES, comments_of, leaves, reference
from tools.model_zoo import table_of

DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")),
        *ROOT.glob("docs/*.md"),
    )
}
#: The demo on ten images, with a few steps and evaluations, and networks that find somebody everywhere.
SMALL = shlex.split(
    "THREADS 1 DATASET.SYNTHETIC.TRAIN 8 DATASET.SYNTHETIC.VAL 2 DATASET.SEARCH_IMAGES 2 DATASET.CALIBRATION_IMAGES 2 "
    "SEARCH.EVALUATIONS 4 SEARCH.POPULATION 2 SEARCH.RANDOM_BASELINE 0 SEARCH.BUDGETS '{XS: 1e9, S: 1e9, M: 1e9, L: 1e9}' "
    "SUPERNET.STAGES '[{name: all, open: [kernel, depth, expansion, width, deconv_width], steps: 2}]' "
    "TRAIN.IMAGES_PER_GPU 2 RETRAIN.EPOCHS 1 TEST.DETECTION_THRESHOLD 0"
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAME = re.compile(r"python ([\w./]+\.py)|pose-supernet (\w+)")  # of a program, in prose
FOLDERS = ("supernet/", "search_spaces/", "tools/", "tests/", "experiments/", "docs/", "examples/")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands name files as they are seen from the root of the repository."""
    monkeypatch.chdir(ROOT)


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of the languages."""
    return [block for _, language, block in FENCE.findall(text) if language in languages]


def commands(text: str) -> list[str]:
    """The commands in fenced blocks, lines that end in a backslash joined to the next, and in inline code.

    A program that inline code names without an argument is no command.
    """
    lines = [
        line.strip() for block in blocks(text, "", "sh", "bash") for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += [code for code in INLINE.findall(FENCE.sub("", text)) if not NAME.fullmatch(code)]
    return [line for line in lines if line.removeprefix(".venv/bin/").startswith(PROGRAMS)]


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_named_files_lead_somewhere(name: str) -> None:
    text, folder = DOCUMENTS[name].read_text(), DOCUMENTS[name].parent
    prose = FENCE.sub("", text)
    wrong = []
    for target in LINK.findall(INLINE.sub("", prose)):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = folder / file if file else DOCUMENTS[name]
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            wrong.append(target)
    files = [
        code
        for code in INLINE.findall(prose)
        if code.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+\.(py|md|yaml)", code)
    ]
    named = [match for code in INLINE.findall(prose) if (match := NAME.fullmatch(code))]
    wrong += [match[0] for match in named if not (Path(match[1]).is_file() if match[1] else match[2] in main.PROGRAMS)]
    wrong += [code for code in files if not Path(code).exists()]
    assert not wrong


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_are_accepted(name: str) -> None:
    faults = {command: fault(command) for command in commands(DOCUMENTS[name].read_text())}
    assert not {command: what for command, what in faults.items() if what}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_compiles(name: str) -> None:
    for block in blocks(DOCUMENTS[name].read_text(), "python", "py"):
        compile(block, name, "exec")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("python trian.py --cfg experiments/synthetic/litepose.yaml", "no trian.py"),
        ("python train.py --cfg experiments/synthetic/nothing.yaml", "no experiments/synthetic/nothing.yaml"),
        ("python train.py --cfg experiments/synthetic/litepose.yaml --fast", "unrecognized arguments: --fast"),
        ("python train.py TRAIN.LR 1", "the following arguments are required: --cfg"),
        ("python train.py --cfg <file> TRAIN.LRR 1", "unknown key TRAIN.LRR"),
        ("python train.py --cfg <file> TRAIN.LR fast", "TRAIN.LR takes a number"),
        ("python valid.py --cfg experiments/coco/litepose.yaml --superconfig litepose-XXS", "no such superconfig"),
        ("torchrun --nproc_per_node 4 valid.py --cfg <file> --fast", "unrecognized arguments"),
        ("pose-supernet search --fast --cfg <file>", "unrecognized arguments"),
        ("pytest -m slow tests/test_nothing.py", "no tests/test_nothing.py"),
        ("python tools/bench/search_speed.py --fast", "takes no --fast"),
        ("make tea", "no target tea"),
    ],
)
def test_the_checker_finds_a_wrong_command(command: str, what: str) -> None:
    assert what in fault(command)


def test_the_checker_finds_commands_and_anchors() -> None:
    text = "# A `b.c` d-e\n```\npython x.py \\\n  --cfg a\nls\n```\nRun `make demo`, not `ls`, see `python x.py`.\n# A `b.c` d-e"
    assert commands(text) == ["python x.py    --cfg a", "make demo"]
    assert anchors(text) == {"a-bc-d-e", "a-bc-d-e-1"}


# ------------------------------------------------------------------------------------------------------------- README

README = (ROOT / "README.md").read_text()
BY_THE_SHELL = ("python3 -m venv .venv && . .venv/bin/activate",)  # lines that are no program's


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_every_line_of_the_readme_can_be_pasted() -> None:
    """Each line of a block is a command that is checked, without anything to fill in, and so are those in prose."""
    lines = [line for block in blocks(README, "") for line in block.splitlines()]
    found = commands(README)
    assert [line for line in lines if line not in found and line not in BY_THE_SHELL] == []
    assert [command for command in found if "<" in command or "…" in command] == []


def test_the_files_of_the_readmes_commands_are_there_or_made_by_an_earlier_one() -> None:
    assert missing_files(commands(README)) == {}


def test_the_checker_finds_a_file_that_nothing_makes() -> None:
    weights = "output/synthetic/litepose/subnets/S/retrained/weights.pt"
    valid, export = f"python valid.py --weights {weights}", f"python tools/export.py --weights {weights} --out net.onnx"
    assert missing_files([valid]) == {valid: [weights]}
    assert missing_files(["make demo", valid, export, "python valid.py --weights net.onnx"]) == {}
    assert missing_files(["make demo", export, other := "python valid.py --weights net-int8.onnx"]) == {
        other: ["net-int8.onnx"]
    }
    assert missing_files([data := "python train.py --cfg experiments/coco/litepose.yaml DATASET.ROOT coco"]) == {
        data: ["coco"]
    }


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``make demo`` has run, made small."""
    folder = tmp_path_factory.mktemp("clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(search, "write_reports", lambda *_: [])
        search.main(["--cfg", "experiments/synthetic/litepose.yaml", *SMALL])
    subnets = folder / "output" / "synthetic" / "litepose" / "subnets"
    shutil.copytree(subnets / "XS", subnets / "S")  # the one that serves all budgets has the name of the smallest
    return folder


def test_the_python_of_the_readme_runs(
    demo_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo_run)
    names: dict[str, object] = {"__name__": "readme"}
    monkeypatch.setitem(sys.modules, "readme", types.ModuleType("readme"))  # where dataclasses look for their module
    for block in blocks(README, "python"):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    assert len(capsys.readouterr().out.splitlines()) > 14  # a person: score, box, and 14 joints
    assert isinstance(names["network"], nn.Module) and isinstance(names["subnet"], nn.Module)


@pytest.mark.slow
def test_the_commands_of_the_readme_run(demo_run: Path) -> None:
    """Those of a user, in the folder of the small demo, where a search has few images and a latency table few networks."""
    less = {
        "search.py": SMALL,
        "latency.py": "--measure 8 --check 2 --repeats 2".split(),
        "export.py": ["--no-compile"],
    }
    ran = []
    for command in commands(README):
        _, script, *words = [*shlex.split(command), ""]
        if not command.startswith("python ") or script.startswith(("-m", "tools/bench", "examples")):
            continue
        extra = [] if "DATASET.ROOT" in words else less.get(Path(script).name, [])
        done = subprocess.run(
            [sys.executable, ROOT / script, *words[:-1], *extra],
            cwd=demo_run, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr[-1000:]}"
        ran.append(script)
    assert len(ran) >= 9


# ------------------------------------------------------------------------------------------------- generated documents


def test_config_md_is_up_to_date() -> None:
    """Else: ``python tools/config_reference.py``."""
    assert (ROOT / "docs" / "config.md").read_text() == reference()


def test_cli_md_is_up_to_date() -> None:
    """Else: ``python tools/cli_reference.py``."""
    assert (ROOT / "docs" / "cli.md").read_text() == cli_reference()


def test_every_program_has_a_script_and_a_section() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for program in (*main.PROGRAMS, *TOOLS):
        script = SCRIPTS.get(program, f"tools/{program}.py")
        assert (ROOT / script).is_file() and f"\n## {program}\n" in text and f"python {script}" in text
    scripts = {f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py")}
    known = {SCRIPTS.get(program, f"tools/{program}.py") for program in (*main.PROGRAMS, *TOOLS)}
    assert scripts - known == {"tools/cli_reference.py", "tools/config_reference.py", "tools/model_zoo.py"}


def test_the_model_zoo_has_every_published_network() -> None:
    """In order, with its input; else: ``python tools/model_zoo.py``."""
    rows = [line.split(" | ")[:2] for line in table_of((ROOT / "docs" / "model-zoo.md").read_text()).splitlines()[2:]]
    published = [
        [f"| {name}", "×".join(map(str, entry.arch.input_hw))]
        for family in FAMILIES.values()
        for name, entry in (family.PUBLISHED | getattr(family, "REBUILT", {})).items()
    ]
    assert rows == published


@pytest.mark.slow
def test_the_table_of_the_model_zoo_is_up_to_date(tmp_path: Path) -> None:
    document = ROOT / "docs" / "model-zoo.md"
    (tmp_path / "zoo.md").write_text(document.read_text())
    model_zoo.main(["--out", str(tmp_path / "zoo.md")])
    assert (tmp_path / "zoo.md").read_text() == document.read_text()


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(UserError, match="put them where the table belongs"):
        table_of("# Model zoo\n")


def test_every_key_is_explained() -> None:
    """Each has a comment in schema.py, and a row."""
    comments, text = comments_of(Path(schema.__file__).read_text()), reference()
    names = [name for name, _ in leaves(DEFAULTS)] + [f"{STAGES}[0].{key}" for key in schema.STAGE]
    assert len(names) > 170
    assert not [name for name in names if not comments.get(name) or f"| `{name}` |" not in text]


def test_every_key_is_read() -> None:
    """What nothing reads is no key; a key whose last name is its own is mentioned in the code."""
    mentioned = set()
    readers = [
        path for room in ("pipeline", "cli") for path in (ROOT / "supernet" / room).glob("*.py")
    ]  # only they see it
    for path in (*readers, ROOT / "supernet" / "cost" / "costs.py"):  # and the table that names the limits' keys
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                mentioned.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                mentioned.update(node.value.split(".") if re.fullmatch(r"[A-Z0-9_.]+", node.value) else [node.value])
    last = {name: name.rpartition(".")[2] for name, _ in leaves(DEFAULTS)}
    keys = Counter(last.values())
    assert not [name for name, key in last.items() if keys[key] == 1 and key not in mentioned]


def test_the_messages_of_troubleshooting_are_those_of_the_code() -> None:
    """Quoted at the beginning of a line, or in bold; but for what differs from case to case."""
    said: list[str] = []
    for path in (ROOT / "supernet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = [code for code in re.findall(r"(?:^|\. |\*\*)`([^`\n]+)`(?=:|\*\*)", text, re.MULTILINE) if " " in code]
    parts = {
        part
        for code in messages
        for part in re.split(r"…|\b\d+\b|cuda|TRAIN.+processes", code)
        if len(part.strip()) > 3
    }
    assert len(messages) >= 10
    assert [part for part in parts if not any(part.strip(" :") in line for line in said)] == []


def test_yaml_is_right(tmp_path: Path) -> None:
    """As a configuration."""
    texts = [block for path in DOCUMENTS.values() for block in blocks(path.read_text(), "yaml")]
    assert texts
    for text in texts:
        (tmp_path / "x.yaml").write_text(text)
        load_config(tmp_path / "x.yaml")


@pytest.mark.parametrize("folder", ["coco", "crowd_pose", "mpii"])
def test_every_published_setting_is_in_reproduce_md(folder: str) -> None:
    """In a row with the score of its header."""
    text = (ROOT / "docs" / "reproduce.md").read_text()
    for path in sorted((ROOT / "experiments" / folder).glob("*.yaml")):
        rows = [line for line in text.splitlines() if f"`{path.relative_to(ROOT).as_posix()}`" in line]
        assert rows, path
        score = re.search(r"Score: ((?:AP|PCKh@0\.5) [\d.]+\d)", " ".join(path.read_text().replace("#", " ").split()))
        assert score is None or any(score[1] in row for row in rows), path
