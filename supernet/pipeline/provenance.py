"""What results were made with: checked before a step goes on, and archived by search.py where it differs.

Every step keeps its inputs (:func:`.keys.provenance`) beside what it makes::

    supernet/      in weights.pt and in the checkpoints
    search/        in the header of journal.jsonl
    subnets/NAME/  of every stage in metrics.json, of its trainings in their weights and checkpoints

What no changed input explains is refused, not archived: a journal of another format or, by equal inputs, of another space;
weights that do not say where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os.path import commonprefix
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..io import checkpoint
from ..io.run_folder import CHECKPOINT, TEACHER, WEIGHTS, RunFolder
from ..search.journal import differences, read_journal
from .keys import provenance
from .progress import say
from .steps import BATCH

Changes = Mapping[str, tuple[Any, Any]]  # key -> (old, new)
SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Made:
    """A training, ended or not, and the inputs that it was made with; none where it does not say."""

    inputs: Mapping[str, Any]
    processes: int
    ended: bool

    @classmethod
    def of(cls, folder: Path) -> Made:
        """The training in a folder; without inputs where there is none."""
        path = folder / WEIGHTS
        content = checkpoint.read(path) if path.exists() else checkpoint.newest(folder / CHECKPOINT)[0]
        found = content if isinstance(content, dict) else {}
        inputs, processes = found.get("settings"), found.get("processes")
        return cls(
            inputs if isinstance(inputs, dict) else {},
            processes if isinstance(processes, int) else 1,
            path.exists(),
        )

    def changes(self, wanted: Mapping[str, Any], processes: int = 1) -> dict[str, tuple[Any, Any]]:
        """What differs from the inputs of this program with so many processes.

        A training that was shared by more processes than look at it now has the batch that they had together.
        """
        found = differences(self.inputs, wanted)
        if BATCH in found:
            old, new = found[BATCH]
            if isinstance(old, int) and isinstance(new, int) and old * processes == new * self.processes:
                del found[BATCH]
        return found


def check(path: Path, found: Changes) -> None:
    """Refuse to go on from what was made with other inputs.

    Raises:
        UserError: names the first of them.
    """
    for name, (old, new) in found.items():
        advice = "start as many processes as before, " if name == BATCH else ""
        raise UserError(
            f"{path}: was made with {name} {old!r}, now it is {new!r}; {advice}set another OUTPUT_DIR, "
            "or move the old folder away to begin anew, as search.py does by itself"
        )


def finished(folder: Path, wanted: Mapping[str, Any], processes: int = 1) -> bool:
    """Whether the training with these inputs has already ended here.

    Raises:
        UserError: another training has; names the first input that differs.
    """
    path = folder / WEIGHTS
    if not path.exists():
        return False
    check(path, Made.of(folder).changes(wanted, processes))
    tidy(folder)
    return True


def tidy(folder: Path) -> None:
    """Remove what a training that has ended needs no longer."""
    for leftover in (folder / CHECKPOINT, checkpoint.previous(folder / CHECKPOINT), folder / TEACHER):
        leftover.unlink(missing_ok=True)


class Archive:
    """Where a run keeps results of other inputs, under the names they had: its folder ``old-N``, a new one each time.

    Args:
        run: the run folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    @cached_property
    def folder(self) -> Path:
        """The folder, made on first use."""
        taken = [int(path.name[4:]) for path in self.run.path.glob("old-*") if path.name[4:].isdigit()]
        folder = self.run.path / f"old-{max(taken, default=0) + 1}"
        folder.mkdir()
        return folder

    def put(self, found: Changes, again: str, *places: Path) -> None:
        """Move places of the run there, and say why.

        Args:
            found: the inputs that have changed.
            again: what will be made anew.
            places: files and folders, in the order in which they go; by the last one the next run would know, if this one is
                killed meanwhile. Those that are not there are left out.
        """
        for place in places:
            if place.exists():
                target = self.folder / place.relative_to(self.run.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                place.replace(target)
        (name, values), more = next(iter(found.items())), len(found) - 1
        others = f" and {more} more" if more else ""
        say(f"{name} {_shown(*values)}{others}: {again} made anew; what was there is in {self.folder}")


def _shown(old: Any, new: Any) -> str:
    """Two values; of long ones the part in which they begin to differ."""
    texts = ["unset" if value is None else repr(value) for value in (old, new)]
    if max(map(len, texts)) > SHOWN:
        start = max(0, len(commonprefix(texts)) - SHOWN // 2)
        texts = [f"…{text[start : start + SHOWN]}…" for text in texts]
    return " -> ".join(texts)


def renew_supernet(archive: Archive, wanted: Any) -> None:
    """Archive the supernet if it was made with other inputs than this step's, and with it all that was made from it."""
    run = archive.run
    made = Made.of(run.supernet)
    found = made.changes(provenance(wanted)) if made.inputs else {}
    if found:
        archive.put(found, "supernet, search and subnets are", run.subnets, *run.searched, run.supernet)


def renew_search(archive: Archive, wanted: Any) -> None:
    """Archive the search if it was made with other inputs than this step's, such as another supernet."""
    run = archive.run
    header = read_journal(run.journal)[0] if run.journal.exists() else {}
    found = differences(header["settings"], provenance(wanted)) if header else {}
    if found:
        archive.put(found, "search is", *run.searched)
