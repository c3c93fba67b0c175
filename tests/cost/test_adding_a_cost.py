"""A further cost is one file and one entry of a table: the example of CONTRIBUTING.md, as objective and limit of a search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.paths import ROOT

#: A file of ``supernet/cost``; its entry in ``supernet/cost/costs.py`` is ``WEIGHTS_MB``.
EXAMPLE = """from .description import Cost

WEIGHTS_MB = Cost(
    name="weights_mb",
    title="Weights",
    compute=lambda sources: lambda codes: 4e-6 * sources.costs.params(codes),
    limit="MAX_WEIGHTS_MB",
    meaning="weights in float32, 10^6 bytes; 0 = no limit",
    axis="megabytes of weights",
    text=lambda megabytes: f"{megabytes:.3g} MB",
)
"""

PROGRAM = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

spec = spec_from_file_location("supernet.cost.weights_mb", sys.argv[1])
module = module_from_spec(spec)
spec.loader.exec_module(module)
from supernet.cost.costs import COSTS

COSTS |= {cost.name: cost for cost in (module.WEIGHTS_MB,)}

from supernet.cli import search
from supernet.cli.command import run_program
from supernet.config.loading import load_config
from supernet.pipeline.run import Run
from tests.tiny_run import configured, only_the_chain

objective = ["SEARCH.ALGORITHM", "nsga2", "COST.OBJECTIVES", "[weights_mb]", "COST.MAX_WEIGHTS_MB"]
with pytest.MonkeyPatch.context() as patch:
    only_the_chain(patch)
    arguments = configured(Path(sys.argv[2]))
    run_program(search.main, [*arguments, *objective, sys.argv[3]])
    with pytest.raises(SystemExit) as refused:
        run_program(search.main, [*arguments, *objective, "0.01", "OUTPUT_DIR", f"{sys.argv[2]}/refused"])
    run = Run(load_config(Path(arguments[1]), []), Path(arguments[1]))
    print(refused.value.code, 4e-6 * run.costs.params(run.space.all_codes()).max())

import pandas as pd
from supernet.pose.metrics.score import Score
from supernet.report.interactive import Series, score_tabs
from tools.config_reference import reference

points = pd.DataFrame({"name": ["a"], "score": [0.5], "text": [""], "macs": [1e6], "weights_mb": [2.0]})
tabs = score_tabs([Series("front", points, "#000000")], Score("AP"), ["macs", "weights_mb"])
print([(tab.title, tab.child.below[0].axis_label) for tab in tabs.tabs][1])
print([line for line in reference().splitlines() if "MAX_WEIGHTS_MB" in line][0])
print([line for line in reference().splitlines() if "COST.OBJECTIVES" in line][0])
"""


def test_contributing_shows_the_example() -> None:
    assert f"```python\n{EXAMPLE}```" in (ROOT / "CONTRIBUTING.md").read_text()


def test_a_new_cost_is_an_objective_a_limit_a_column_and_a_tab(tmp_path: Path) -> None:
    """Without a change of the schema, the search or the report."""
    file, most = tmp_path / "weights_mb.py", 0.4
    file.write_text(EXAMPLE)
    command = [sys.executable, "-c", PROGRAM, str(file), str(tmp_path), str(most)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "output" / tmp_path.name / "run"
    for table in ("front.csv", "search/found.csv"):
        found = pd.read_csv(folder / table)
        assert len(found) and (found.weights_mb == 4e-6 * found.params).all() and (found.weights_mb <= most).all()
    records = [json.loads(line) for line in (folder / "search" / "journal.jsonl").read_text().splitlines()[1:]]
    assert records and all(list(record["costs"]) == ["weights_mb"] for record in records)
    refused, tab, limit, objectives = done.stdout.splitlines()[-4:]
    assert tab == "('Weights', 'megabytes of weights')"
    assert limit == "| `COST.MAX_WEIGHTS_MB` | `0.0` | weights in float32, 10^6 bytes; 0 = no limit (0 to 1e+18) |"
    assert "macs, params, memory, latency_ms, weights_mb" in objectives
    code, largest = refused.split()
    assert float(largest) > most  # so that the limit left something out
    message = "COST.MAX_WEIGHTS_MB is 0.01, which no architecture of the space meets; the smallest possible is 0."
    assert code == "2" and message in done.stderr and not (tmp_path / "refused").exists()
