"""Paths of a run folder: where every program writes, and every reader looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

WEIGHTS, CHECKPOINT, ARCHITECTURE, LOG = "weights.pt", "checkpoint.pt", "arch.json", "log.csv"
TEACHER = "teacher.pt"  # beside a supernet's checkpoints: its largest network, from which the others learn

_LONGEST_NAME = 150  # bytes; file systems take 255, and temporary names are longer


def folder_name(name: str, what: str) -> str:
    """A name that becomes that of a file or folder within a run folder: one word or several, and never a way out of it.

    Args:
        name: of a budget, an architecture, a run, a split.
        what: names it in the message.

    Raises:
        UserError: it is empty, begins with a dot, is too long, or has a separator or a character that no name has.
    """
    fits = 0 < len(name.encode(errors="surrogatepass")) <= _LONGEST_NAME
    if not fits or name.startswith(".") or not name.isprintable() or "/" in name or "\\" in name:
        shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
        raise UserError(
            f"{what} is {shown!r}, which becomes the name of a file: write letters, digits, and -_. behind the first "
            f"(at most {_LONGEST_NAME})"
        )
    return name


@dataclass(frozen=True)
class SubnetFolder:
    """One subnet of a run: extracted and calibrated, then retrained, perhaps also trained from fresh weights."""

    path: Path

    @property
    def name(self) -> str:
        """Of the budget that it was selected for, or of its superconfig."""
        return self.path.name

    @property
    def architecture(self) -> Path:
        """Its superconfig, JSON."""
        return self.path / ARCHITECTURE

    @property
    def weights(self) -> Path:
        """Extracted and calibrated weights."""
        return self.path / WEIGHTS

    @property
    def certificate(self) -> Path:
        """Difference to the supernet, costs, sources."""
        return self.path / "certificate.json"

    @property
    def metrics(self) -> Path:
        """The official metric after every stage, with the settings of each."""
        return self.path / "metrics.json"

    @property
    def retrained(self) -> Path:
        """Folder of the training that begins with the extracted weights."""
        return self.path / "retrained"

    @property
    def scratch(self) -> Path:
        """Folder of the training that begins with fresh weights."""
        return self.path / "scratch"

    @property
    def best_weights(self) -> Path:
        """The retrained weights, or the extracted ones where there are none."""
        retrained = self.retrained / WEIGHTS
        return retrained if retrained.is_file() else self.weights


@dataclass(frozen=True)
class RunFolder:
    """A run folder; its tables are CSV with a header line."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration that the search ran with."""
        return self.path / "config.yaml"

    @property
    def supernet(self) -> Path:
        """Folder of the supernet's training."""
        return self.path / "supernet"

    @property
    def supernet_weights(self) -> Path:
        """The trained supernet."""
        return self.supernet / WEIGHTS

    @property
    def search(self) -> Path:
        """Folder of the search."""
        return self.path / "search"

    @property
    def journal(self) -> Path:
        """Everything that was evaluated, one JSON line each."""
        return self.search / "journal.jsonl"

    def evaluated(self, which: str) -> Path:
        """Table of the evaluated architectures: ``found`` by the search, or ``random``."""
        return self.search / folder_name(f"{which}.csv", "a table")

    @property
    def finalists(self) -> Path:
        """The best within each budget, scored again on other images."""
        return self.search / "finalists.csv"

    @property
    def predictor(self) -> Path:
        """How good the predictor was in each generation."""
        return self.search / "predictor.csv"

    @property
    def front(self) -> Path:
        """The Pareto front."""
        return self.path / "front.csv"

    @property
    def comparison(self) -> Path:
        """The selected subnets, and their score after every stage."""
        return self.path / "comparison.csv"

    @property
    def budgets(self) -> Path:
        """Each budget's limit and architecture, or why it has no subnet of its own."""
        return self.path / "budgets.csv"

    @property
    def subnets(self) -> Path:
        """Folder of all subnets."""
        return self.path / "subnets"

    def subnet(self, name: str) -> SubnetFolder:
        """Folder of one subnet; a name that leads out of the run folder is refused (UserError), here and below."""
        return SubnetFolder(self.subnets / folder_name(name, "the name of a subnet"))

    def trained(self, name: str) -> Path:
        """Folder of a single network's training, by the name of its superconfig."""
        return self.path / "trained" / folder_name(name, "the name of a superconfig")

    @property
    def results(self) -> Path:
        """Folder of detections, as the datasets' servers take them."""
        return self.path / "results"

    def detections(self, weights: str, split: str, suffix: str) -> Path:
        """The detections of a file of weights on a split."""
        return self.results / folder_name(
            f"{weights}-{folder_name(split, 'the split DATASET.TEST')}{suffix}", "a result"
        )

    @property
    def fidelity(self) -> Path:
        """Folder of the stand-alone trainings, and of rankings compared with them."""
        return self.path / "fidelity"

    @property
    def gain(self) -> Path:
        """Folder of selected and random networks, trained stand-alone: ``gain.csv``."""
        return self.path / "gain"

    def plot(self, suffix: str) -> Path:
        """The figure of the front: ``png`` or ``svg``."""
        return self.path / f"pareto.{suffix}"

    def report(self, suffix: str) -> Path:
        """The report: ``md`` or ``html``."""
        return self.path / f"report.{suffix}"

    @property
    def compared(self) -> Sequence[Path]:
        """What follows from the subnets; archived when one of them is."""
        return (
            self.report("html"),
            self.report("md"),
            self.plot("png"),
            self.plot("svg"),
            self.budgets,
            self.comparison,
        )

    @property
    def searched(self) -> Sequence[Path]:
        """What follows from the search, and the search itself, which goes last."""
        return (*self.compared, self.front, self.search)
