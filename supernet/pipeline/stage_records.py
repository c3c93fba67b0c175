"""Read ``metrics.json`` of a subnet: of every stage the official metric, and what it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..io.files import read_json

TRANSFERRED, CALIBRATED, RETRAINED, SCRATCH = "transferred", "calibrated", "retrained", "from scratch"
#: Columns of comparison.csv and the stage of a subnet's life behind each.
STAGES = {
    "ap_transferred": TRANSFERRED,
    "ap_calibrated": CALIBRATED,
    "ap_retrained": RETRAINED,
    "ap_scratch": SCRATCH,
}


def read_stages(path: Path) -> dict[str, Any]:
    """What a subnet's stages are kept in; without stages where there is no file yet.

    Raises:
        UserError: a field is not what belongs there; the line names it.
    """
    if not path.exists():
        return {"stages": {}}
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("stages"), dict):
        raise UserError(f"{path}: is not what a subnet's stages are kept in; move {path.parent} away")
    for name in ("macs", "params"):
        if name in found and (type(found[name]) is not int or found[name] < 0):
            raise UserError(f"{path}: its {name!r} is no whole number from 0 on; move {path.parent} away")
    for stage, value in found["stages"].items():
        made = value.get("made_with") if isinstance(value, dict) else None
        metrics = value.get("metrics") if isinstance(value, dict) else None
        sound = isinstance(made, dict) and all(isinstance(made.get(name), dict) for name in ("weights", "evaluation"))
        scores = isinstance(metrics, dict) and all(
            isinstance(number, int | float) and not isinstance(number, bool) for number in metrics.values()
        )
        if stage not in STAGES.values() or not sound or not scores:
            raise UserError(f"{path}: the stage {stage[:40]!r} is no record of a stage; move {path.parent} away")
    if found["stages"] and not {"macs", "params"} <= found.keys():
        raise UserError(f"{path}: lacks 'macs' or 'params'; move {path.parent} away")
    return found
