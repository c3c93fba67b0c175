"""Table of a search's gain over random networks of equal MACs."""

from __future__ import annotations

import pandas as pd

from ..search.gain import p_value

COLUMNS = ("name", "group", "seed", "macs", "test", "arch")  # of gain.csv: a line for each training


def gains(trainings: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """What each selected subnet has over random networks of its MACs.

    Args:
        trainings: ``gain.csv``: :data:`COLUMNS`; the name is that of the subnet, the group ``selected`` or ``random``.

    Returns:
        A row for each subnet: name, macs, trainings, selected, random (means), best (random one), gain, above (share of the
        random ones that it is above), networks (random ones); and the p-value of all together (:func:`p_value`).
    """
    rows, scores, others = [], [], []
    for name, part in trainings.groupby("name", sort=False):
        mine, random = part[part.group == "selected"], part[part.group == "random"].groupby("arch").test.mean()
        score = float(mine.test.mean())
        rows.append(
            {
                "name": name,
                "macs": mine.macs.iloc[0],
                "trainings": len(mine),
                "selected": score,
                "random": random.mean(),
                "best": random.max(),
                "gain": score - random.mean(),
                "above": (random < score).mean(),
                "networks": len(random),
            }
        )
        scores.append(score)
        others.append(random.to_numpy())
    return pd.DataFrame(rows), p_value(scores, others)


def shown_gains(table: pd.DataFrame, metric: str, factor: float = 100) -> pd.DataFrame:
    """The table of :func:`gains` in words, scores times ``factor`` (100 for fractions of 1)."""
    scaled = table[["selected", "random", "best", "gain"]] * factor
    return pd.DataFrame(
        {
            "subnet": table.name,
            "MMACs": [f"{macs / 1e6:.1f}" for macs in table.macs],
            f"{metric} selected": [f"{score:.1f}" for score in scaled.selected],
            "random, mean (best)": [f"{m:.1f} ({b:.1f})" for m, b in zip(scaled.random, scaled.best, strict=True)],
            "gain": [f"{gain:+.1f}" for gain in scaled.gain],
            "above": [f"{share:.0%} of {n}" for share, n in zip(table.above, table.networks, strict=True)],
        }
    )
