from twofour import models

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


@pytest.mark.parametrize(("limit", "status"), [(1.0, 1), (1.5, 0), (2, 0)])
def test_gate(tmp_path, limit, status):
    models.write(tmp_path / "models.json", models.table("mask_1d"))
    (tmp_path / "comparison.csv").write_text(
        "model,backend,precision,top1_drop\ndense,paddle,fp32,0\nsparse,paddle,fp32,1.5\n"
    )
    config = f'{{"accept": {{"max_top1_drop": {limit}}}}}'
    done = program("accept.py", "--results", tmp_path, "--config", config, check=False)
    assert done.returncode == status
    assert ("not accepted: the sparse model is 1.50 points" in done.stderr) == (status == 1)
    assert (tmp_path / "accept.json").exists() == (status == 0)
