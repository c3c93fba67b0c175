"""Documents: every link leads somewhere, every command would be accepted, every configuration key is explained."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from search_spaces import FAMILIES
from supernet.cli import main
from supernet.cli.command import SCRIPTS
from supernet.config import schema
from supernet.config.loading import load_config
from supernet.config.schema import DEFAULTS
from supernet.errors import UserError
from tests.commands import fault
from tests.documents import FENCE, INLINE, NAME, blocks, commands
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
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FOLDERS = ("supernet/", "search_spaces/", "tools/", "tests/", "experiments/", "docs/", "examples/")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands name files as they are seen from the root of the repository."""
    monkeypatch.chdir(ROOT)


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
