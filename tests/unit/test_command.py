"""The command twofour, as it is installed."""

import os
import subprocess
import sys
from pathlib import Path

from twofour import command

import pytest
from conftest import SCRIPTS

TWOFOUR = Path(sys.executable).parent / "twofour"


def twofour(*arguments, **options):
    return subprocess.run(
        [TWOFOUR, *map(str, arguments)], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("name", command.COMMANDS)
def test_each_subcommand_is_a_program_and_names_itself(name):
    done = twofour(name, "--help")
    assert done.returncode == 0 and f"usage: twofour {name} " in done.stdout
    assert (SCRIPTS / f"{command.PROGRAM_OF.get(name, name)}.py").is_file()


def test_help_lists_the_subcommands():
    done = twofour("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in command.COMMANDS)
    assert twofour().stdout == done.stdout


def test_unknown_subcommand_is_the_last_line():
    done = twofour("chekc")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: unknown command chekc"


def test_error_of_a_subcommand_is_one_sentence(tmp_path):
    done = twofour("check", tmp_path / "none.onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/none.onnx does not exist\n"


def test_wheel_brings_programs_and_template(tmp_path):
    """What pip install . puts into an environment without a repository beside it."""
    import zipfile

    from conftest import ROOT

    build = "from setuptools import build_meta; print(build_meta.build_wheel({!r}))"
    copy = tmp_path / "repository"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "workflow", "envs"):
        source = ROOT / name
        (subprocess.run(["cp", "-r", source, copy], check=True))
    code = build.format(str(tmp_path))
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    assert (target / "twofour/report/report.html.j2").is_file()
    assert (target / "twofour_programs/start.sh").is_file()
    run = "import sys; sys.argv = ['twofour', 'check', '--help']; import twofour.command as c; "
    run += f"assert c.__file__.startswith({str(target)!r}); c.main()"
    done = subprocess.run(
        [sys.executable, "-c", run],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(target)},
    )
    assert "usage: twofour check" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "given", "expected"),
    [
        ("train", "", "glibc.malloc.hugetlb=1"),
        ("train", "glibc.malloc.check=1", "glibc.malloc.check=1"),
        ("evaluate", "", ""),
    ],
)
def test_jobs_of_trainings_ask_for_huge_pages(tmp_path, program, given, expected):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$GLIBC_TUNABLES"; echo "$@"\n')
    python.chmod(0o755)
    start = SCRIPTS / "start.sh"
    variables = {**os.environ, "TWOFOUR": str(start), "TWOFOUR_PYTHON": str(python)}
    variables["GLIBC_TUNABLES"] = given
    command = ["sh", start, program, "--out", "a b"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [expected, f"{SCRIPTS / program}.py --out a b"]
