import json

from twofour import models
from twofour.report import compare

import pandas as pd
import pytest
from conftest import SCRIPTS, program

PROGRAMS = sorted(path.name for path in SCRIPTS.glob("*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(name):
    done = program(name, "--help")
    assert "usage:" in done.stdout


@pytest.mark.parametrize("name", ["plot.py", "report.py", "compare.py", "accept.py"])
def test_missing_results_are_a_sentence(name, tmp_path):
    done = program(
        name,
        "--results",
        tmp_path / "none",
        "--config",
        '{"accept":{"max_top1_drop":1}}',
        check=False,
    )
    assert done.returncode == 1
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_top1_drop": 1.0}, "the sparse model is 1.50 points of top-1 below dense_more in"),
        ({"max_top1_drop": 1.5}, None),
        (
            {"max_top1_drop": 2, "judge": "bound"},
            "may be up to 2.50 points of top-1 below dense_mo",
        ),
        ({"max_top1_drop": 2.5, "judge": "bound"}, None),
    ],
)
def test_gate(tmp_path, given, said):
    models.write(tmp_path / "models.json", models.table("mask_1d", control=True))
    measured = {
        "model": ["dense", "sparse"],
        "backend": ["paddle"] * 2,
        "precision": ["fp32"] * 2,
        "top1_drop": [0, 1.5],
        "drop_high": [0, 2.5],
        "drop_against": ["dense", "dense_more"],
    }
    frame = pd.DataFrame(measured).reindex(columns=compare.COLUMNS)
    frame.to_csv(tmp_path / "comparison.csv", index=False)
    config = json.dumps({"accept": given})
    done = program("accept.py", "--results", tmp_path, "--config", config, check=False)
    assert done.returncode == (said is not None)
    if said:
        assert f"not accepted: {said}" in done.stderr.replace("the sparse model may", "may")
    else:
        found = json.loads((tmp_path / "accept.json").read_text())
        assert (found["judge"], found["against"]) == (given.get("judge", "point"), "dense_more")
