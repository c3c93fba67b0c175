"""What is wrong in a configuration is said in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supernet.config.loading import load_config
from supernet.errors import UserError
from tests.config.test_loading import message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TRAIN: {LEARNING_RATE: 1}", "x.yaml: unknown key TRAIN.LEARNING_RATE; did you mean TRAIN.LR?"),
        ("TRAIN: {WEIGHT_DECAY: 1}", "x.yaml: unknown key TRAIN.WEIGHT_DECAY; did you mean TRAIN.WD?"),
        ("SUPERNTE: {EMA: 1}", "x.yaml: unknown key SUPERNTE; did you mean SUPERNET?"),
        ("train: {LR: 1}", "x.yaml: unknown key train; did you mean TRAIN?"),
        ("POPULATION: 3", "x.yaml: unknown key POPULATION; did you mean SEARCH.POPULATION?"),
        ("LR: 3", "x.yaml: unknown key LR; did you mean TRAIN.LR or RETRAIN.LR or FIDELITY.LR?"),
        ("COST: {QUARKS: 3}", "x.yaml: unknown key COST.QUARKS; the keys there are MAX_MACS"),
        (
            "SUPERNET: {STAGES: [{name: a, step: 3}]}",
            "x.yaml: unknown key SUPERNET.STAGES[0].step; did you mean SUPERNET.STAGES[0].steps?",
        ),
        ("TRAIN: {LR: fast}", "x.yaml: TRAIN.LR takes a number, not 'fast'"),
        ("TRAIN: {LR: .nan}", "x.yaml: TRAIN.LR takes a number, not nan"),
        ("TRAIN: {LR: true}", "x.yaml: TRAIN.LR takes a number, not True"),
        ("TRAIN: {LR: {A: 1}}", "x.yaml: TRAIN.LR takes a number, not a mapping"),
        ("TRAIN: {END_EPOCH: 1.5}", "x.yaml: TRAIN.END_EPOCH takes a whole number, not 1.5"),
        ("TRAIN: {END_EPOCH: }", "x.yaml: TRAIN.END_EPOCH takes a whole number, not None"),
        ("TRAIN: {NESTEROV: 1}", "x.yaml: TRAIN.NESTEROV takes true or false, not 1"),
        ("TRAIN: {OPTIMIZER: no}", "x.yaml: TRAIN.OPTIMIZER takes text, not False"),
        ("TRAIN: {LR_STEP: [1, x]}", "x.yaml: TRAIN.LR_STEP[1] takes a whole number, not 'x'"),
        ("TRAIN: {LR_STEP: {a: 1}}", "x.yaml: TRAIN.LR_STEP takes a list, not a mapping"),
        ("TRAIN: 3", "x.yaml: TRAIN takes a mapping of keys to values, not 3"),
        ("[1, 2]", "x.yaml: the file takes a mapping of keys to values, not [1, 2]"),
        ("SEARCH: {BUDGETS: {phone: small}}", "x.yaml: SEARCH.BUDGETS.phone takes a whole number, not 'small'"),
        (
            "SEARCH: {BUDGETS: {../S: 5e6}}",
            "x.yaml: SEARCH.BUDGETS has the name '../S'; write at most 64 letters, digits",
        ),
        ("SEARCH: {BUDGETS: {S M: 5e6}}", "x.yaml: SEARCH.BUDGETS has the name 'S M'"),
        ("SEARCH: {BUDGETS: {'': 5e6}}", "x.yaml: SEARCH.BUDGETS has the name ''"),
        (
            "SEARCH: {BUDGETS: {S: {flops: 1}}}",
            "x.yaml: SEARCH.BUDGETS.S limits 'flops', which is not one of macs, params, memory",
        ),
        (
            "SEARCH: {BUDGETS: {S: {latency_ms: fast}}}",
            "x.yaml: SEARCH.BUDGETS.S.latency_ms takes a number, not 'fast'",
        ),
        ("SEARCH: {BUDGETS: {S: {params: 1.5}}}", "x.yaml: SEARCH.BUDGETS.S.params takes a whole number, not 1.5"),
        ("SEARCH: {BUDGETS: {S: {}}}", "x.yaml: SEARCH.BUDGETS.S limits nothing; name some of macs"),
        ("SEARCH: {BUDGETS: {S: 0}}", "x.yaml: SEARCH.BUDGETS.S is 0; write a number above 0"),
        (
            "SEARCH: {BUDGETS: {S.latency_ms: 5}}",
            "x.yaml: SEARCH.BUDGETS.S.latency_ms would be a budget of that name; write SEARCH.BUDGETS.S '{latency_ms: …}'",
        ),
        (
            "SEARCH: {ALGORITHM: nsga3}",
            "x.yaml: SEARCH.ALGORITHM is 'nsga3', not one of predictor, nsga2, evolution, random",
        ),
        (
            "DATASET: {TRAIN_SET: a, TRAIN: b}",
            "x.yaml: DATASET.TRAIN_SET and DATASET.TRAIN are two names of one key; keep DATASET.TRAIN",
        ),
        (
            "SUPERNET: {STAGES: [{steps: 3}]}",
            "x.yaml: SUPERNET.STAGES[0] has no name; add name: and a word for the log",
        ),
        ("SUPERNET: {STAGES: [{name: a}]}", "x.yaml: SUPERNET.STAGES[0] (a) needs either steps or epochs, above 0"),
        ("SUPERNET: {STAGES: [all]}", "x.yaml: SUPERNET.STAGES[0] takes a mapping of keys to values, not 'all'"),
        ("SUPERNET: {COVERAGE: 1.5}", "x.yaml: SUPERNET.COVERAGE is 1.5; it takes a number, 0 to 1"),
        ("SUPERNET: {PATHS: 0}", "x.yaml: SUPERNET.PATHS is 0; it takes a whole number, 1 to 65,536"),
        (
            "TRAIN: {OPTIMIZER: lion}",
            "x.yaml: TRAIN.OPTIMIZER is 'lion', not one of adam, adamw, sgd, lazy_adam, lazy_adamw",
        ),
        ("SUPERNET: {PATHS: 2}", "SUPERNET.PATHS is 2, which is for SUPERNET.SAMPLING single_path; of sandwich every"),
        (
            "SUPERNET: {PATHS: 2, SAMPLING: single_path}",
            "SUPERNET.PATHS is 2 and SUPERNET.DISTILLATION inplace, which needs architectures that read the same images: set",
        ),
        (
            "{SUPERNET: {PATHS: 3, SAMPLING: single_path, DISTILLATION: none}, TRAIN: {IMAGES_PER_GPU: 2}}",
            "SUPERNET.PATHS is 3 and TRAIN.IMAGES_PER_GPU 2: an architecture needs at least one image; set PATHS lower",
        ),
        (
            "SUPERNET: {COVERAGE: 0.5, SAMPLING: best_up}",
            "SUPERNET.COVERAGE is for SUPERNET.SAMPLING single_path and sandwich; best_up chooses by the loss: set COVERAGE 0",
        ),
        (
            "SUPERNET: {ONE_CURVE: true, STAGES: [{name: a, steps: 1, lr: 0.1}, {name: b, steps: 1}]}",
            "SUPERNET.ONE_CURVE has one initial learning rate, SUPERNET.STAGES have 0.001, 0.1: give all the same lr, or none",
        ),
        (
            "SUPERNET: {DISTILLATION: largest, STAGES: [{name: a, steps: 1, open: [width]}]}",
            "SUPERNET.DISTILLATION largest learns from the largest network as the first of SUPERNET.STAGES left it: begin with a",
        ),
        ("TRAIN: {LR: 1", "x.yaml:1:14: not YAML: expected ',' or '}', but got '<stream end>'"),
        ("A: !!python/object/apply:os.system [ls]", "x.yaml:1:4: not YAML: could not determine a constructor"),
        ("MODEL: {EXTRA: &a {B: *a}}", "x.yaml: not YAML: maximum recursion depth exceeded"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["TRAIN.LR"], "command line: overrides come as KEY VALUE pairs; 'TRAIN.LR' is left without a value"),
        (["TRAIN.LRR", "1"], "command line: unknown key TRAIN.LRR; did you mean TRAIN.LR?"),
        (["train.lr", "1"], "command line: unknown key train; did you mean TRAIN?"),
        (["TRAIN.LR", "x"], "command line: TRAIN.LR takes a number, not 'x'"),
        (["TRAIN.LR.X", "1"], "command line: TRAIN.LR takes a number, not a mapping"),
        (["TRAIN", "1"], "command line: TRAIN takes a mapping of keys to values, not 1"),
        (["", "1"], "command line: unknown key ; the keys there are OUTPUT_DIR"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_one_line(tmp_path: Path, overrides: list[str], expected: str) -> None:
    assert message(tmp_path, "", *overrides).startswith(expected)


def test_unreadable_files(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(UserError, match=re.escape(f"{missing}: cannot be read: No such file or directory")):
        load_config(missing)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"A: \xff")
    with pytest.raises(UserError, match=r"not text in UTF-8 \(byte 3\)"):
        load_config(tmp_path / "x.yaml")
