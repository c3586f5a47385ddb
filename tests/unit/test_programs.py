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
