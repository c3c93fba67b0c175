"""The steps of search.py as a chain: what was made with other settings is archived, and it and what follows are made anew.

Every step keeps what it was made with beside what it made::

    supernet/      what trains it; in weights.pt and in the checkpoints
    search/        the same, TEST, SEARCH.SEED and the supernet's weights; in the header of journal.jsonl
    subnets/NAME/  the same, the architecture, and RETRAIN for what is retrained; in metrics.json

Keys that do not belong to a step, such as more SEARCH.EVALUATIONS, only let it go on. What no changed key explains is refused,
not archived: a journal of another format or, by the same keys, of another space; weights that do not say where they are from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from os.path import commonprefix
from pathlib import Path
from typing import Any

from ..io.files import sha256
from ..search.journal import differences, read_journal
from .fit import NOT_OF_TRAINING, REPORTED, made_with
from .progress import say
from .run import Run
from .training import TRAINED_BY

Changes = Mapping[str, tuple[Any, Any]]  # key -> (old, new)
COMPARED = ("report.html", "report.md", "pareto.png", "pareto.svg", "comparison.csv")  # what follows from the subnets
SEARCHED = (*COMPARED, "front.csv", "search")
SHOWN = 60  # characters of a value


class Archive:
    """Where a run keeps results of other settings, under the names they had: its folder ``old-N``, a new one each time.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    @cached_property
    def folder(self) -> Path:
        """The folder, made on first use."""
        taken = [int(path.name[4:]) for path in self.run.glob("old-*") if path.name[4:].isdigit()]
        folder = self.run / f"old-{max(taken, default=0) + 1}"
        folder.mkdir()
        return folder

    def put(self, changes: Changes, again: str, *places: Path) -> None:
        """Move places of the run there, and say why.

        Args:
            changes: the settings that have changed.
            again: what will be made anew.
            places: files and folders, in the order in which they go; by the last one the next run would know, if this one is
                killed meanwhile. Those that are not there are left out.
        """
        for place in places:
            if place.exists():
                target = self.folder / place.relative_to(self.run)
                target.parent.mkdir(parents=True, exist_ok=True)
                place.replace(target)
        (key, values), more = next(iter(changes.items())), len(changes) - 1
        others = f" and {more} more" if more else ""
        say(f"{key} {_shown(*values)}{others}: {again} made anew; what was there is in {self.folder}")


def _shown(old: Any, new: Any) -> str:
    """Two values; of long ones the part in which they begin to differ."""
    texts = ["unset" if value is None else repr(value) for value in (old, new)]
    if max(map(len, texts)) > SHOWN:
        start = max(0, len(commonprefix(texts)) - SHOWN // 2)
        texts = [f"…{text[start : start + SHOWN]}…" for text in texts]
    return " -> ".join(texts)


def renew_supernet(run: Run, archive: Archive) -> None:
    """Put the supernet aside if it was made with other settings, and with it all that was made from it."""
    folder = run.folder
    found = made_with(folder / "supernet")
    changes = differences(found, run.settings(*TRAINED_BY, "SUPERNET"), NOT_OF_TRAINING) if found else {}
    if changes:
        places = [folder / name for name in ("subnets", *SEARCHED, "supernet")]
        archive.put(changes, "supernet, search and subnets are", *places)


def searched_with(run: Run, source: Path) -> dict[str, Any]:
    """The settings of the search's scores.

    Args:
        run: the run.
        source: the file of the supernet.
    """
    return run.settings(*TRAINED_BY, "SUPERNET", "TEST") | {"supernet_sha256": sha256(source)}


def renew_search(run: Run, source: Path, archive: Archive) -> None:
    """Put the search aside if it was made with other settings or of another supernet."""
    journal = run.folder / "search" / "journal.jsonl"
    header = read_journal(journal)[0] if journal.exists() else {}
    if not header:
        return
    found = {**header["settings"], "SEARCH.SEED": header["seed"]}
    wanted = {**searched_with(run, source), "SEARCH.SEED": run.cfg.SEARCH.SEED}
    changes = differences(found, wanted, REPORTED)
    if changes:
        archive.put(changes, "search is", *(run.folder / name for name in SEARCHED))


def renew_subnet(folder: Path, content: dict[str, Any], wanted: Mapping[str, Any], archive: Archive) -> dict[str, Any]:
    """Put aside what of a subnet was made with other settings.

    Settings of its evaluation alone leave all its weights, and those of RETRAIN what was evaluated before.

    Args:
        folder: of the subnet.
        content: of its ``metrics.json``.
        wanted: the settings of this run.
        archive: where old results go.

    Returns:
        What of the content remains true.
    """
    changes = differences(content["made_with"], wanted, ("RETRAIN.FROM_SCRATCH",))
    if not changes:
        return content
    retrained = any(key.startswith("RETRAIN.") for key in changes)
    judged = any(key.startswith("TEST.") or key in REPORTED for key in changes)
    name, fresh, results = folder.name, {"made_with": wanted, "metrics": {}}, [archive.run / name for name in COMPARED]
    if not all(key.startswith(("RETRAIN.", "TEST.")) or key in REPORTED for key in changes):
        archive.put(changes, f"subnet {name} is", *results, folder)
        return fresh
    places = [*results, *(folder / part for part in ("retrained", "scratch") if retrained)]
    again = " and ".join(["retraining"] * retrained + ["scores"] * judged)
    archive.put(changes, f"{again} of subnet {name} {'are' if judged else 'is'}", *places, folder / "metrics.json")
    if judged:
        return fresh
    kept = {stage: scores for stage, scores in content["metrics"].items() if stage in ("transferred", "calibrated")}
    return {**content, "made_with": wanted, "metrics": kept}
