"""make run and make test on a machine that lacks something: one sentence each."""

import subprocess

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            "echo 3.9",
            "is Python 3.9, but PaddlePaddle 2.6 and Snakemake 9 both exist for 3.11 and 3.12",
        ),
        ('case "$2" in *ensurepip*) exit 1;; *) echo 3.11;; esac', "lacks the venv module"),
        ("exit 1", "does not start"),
    ],
)
def test_unsuitable_python(tmp_path, answer, message):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    done = setup(python, tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "venv").exists()


def test_no_python(tmp_path):
    assert "there is no " in setup(tmp_path / "none", tmp_path).stderr


def setup(python, folder):
    command = ["sh", ROOT / "envs" / "setup.sh", python, folder / "venv", "none.txt"]
    return subprocess.run(command, capture_output=True, text=True)
