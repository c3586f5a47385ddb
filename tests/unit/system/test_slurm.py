"""The part of the SLURM support that needs no SLURM: a stand-in for scontrol answers."""

import json
import os
import signal
import subprocess
import sys

from twofour.system import hardware, slurm
from twofour.system.cli import ANY_PARENT, TIED
from twofour.system.errors import TwoFourError
from twofour.train import launch

import pytest
from conftest import SCRIPTS, TINY, merged
from trainings import at_checkpoint

SCONTROL = """#!/bin/sh
echo "$@" >>"{folder}/asked"
case "$1 $2" in
"show hostnames") printf 'n3\\nn4\\n' ;;
"show node") echo "NodeName=n3 Arch=x86_64 NodeAddr={address} NodeHostName=n3" ;;
"show config") echo "MinJobAge               = {age} sec" ;;
requeue*) {requeue} ;;
esac
"""


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Puts a stand-in on the path; returns a function that lists the calls it has had."""

    def make(address="127.0.0.1", requeue="exit 0", age=300):
        path = tmp_path / "bin" / "scontrol"
        path.parent.mkdir(exist_ok=True)
        text = SCONTROL.format(folder=tmp_path, address=address, requeue=requeue, age=age)
        path.write_text(text)
        path.chmod(0o755)
        return lambda: (tmp_path / "asked").read_text().splitlines()

    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    return make


def test_nodes_are_asked_for_by_srun(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(TwoFourError, match=r"hardware\.nodes is 2, but this is not a SLURM job"):
        slurm.on_each_node(2, "train.py", [])
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv(TIED, "4711")  # from another machine
    command, environment = slurm.on_each_node(2, "train.py", ["--out", "x y"])
    assert command[:4] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"]
    assert command[-4:] == [sys.executable, "train.py", "--out", "x y"]
    assert environment[TIED] == ANY_PARENT
    assert not slurm.on_a_node()
    monkeypatch.setenv(slurm._NODE, environment[slurm._NODE])
    assert slurm.on_a_node()


def test_nodes_meet_at_the_first_one(scontrol, monkeypatch):
    asked = scontrol()
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[3-4]")
    assert slurm.meeting_point() == "127.0.0.1:23456"
    assert asked() == ["show hostnames n[3-4]", "show node n3 --oneliner"]
    scontrol(address="no.such.host.invalid")
    with pytest.raises(
        TwoFourError, match=r"first node, no\.such\.host\.invalid, cannot be resolved"
    ):
        slurm.meeting_point()


def test_cores_are_those_of_the_job(monkeypatch):
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    every = len(os.sched_getaffinity(0))
    assert hardware.cores() == every
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert hardware.cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1000")
    assert hardware.cores() == every


def started(prepared, out, **environment):
    config = json.dumps(merged(TINY, {"train": {"epochs": 3000}}))
    words = ["--config", config, "--data", str(prepared), "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, str(SCRIPTS / "train.py"), *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    return at_checkpoint(running, out)


def test_warning_saves_and_puts_the_job_back(prepared, scontrol, tmp_path):
    asked = scontrol()
    running = started(prepared, tmp_path / "out")
    running.send_signal(signal.SIGUSR1)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert f"since {launch.TIME_IS_UP}; saved, so the same command resumes" in said
    assert asked() == ["requeue 123456"]


def test_a_job_that_may_not_be_put_back_says_so(prepared, scontrol, tmp_path):
    scontrol(requeue="echo 'Requested operation is presently disabled' >&2; exit 1")
    running = started(prepared, tmp_path / "out")
    running.send_signal(signal.SIGUSR1)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "scontrol requeue 123456 failed: Requested operation is presently disabled" in said


def test_a_stop_that_was_asked_for_puts_nothing_back(prepared, scontrol, tmp_path):
    scontrol()
    running = started(prepared, tmp_path / "out")
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and launch.TIME_IS_UP not in said
    assert not (tmp_path / "asked").exists()


def test_without_a_single_step_a_job_is_not_put_back_for_ever():
    from twofour.system.cli import Interrupted
    from twofour.train import stopping
    from twofour.train.state import State

    from plans import plan

    def interrupted(begun, number):
        run = State.__new__(State)
        run.plan, run.epoch, run.step, run.begun = plan(), 2, 5, begun
        run.save = lambda: None
        run.writer = type("Writer", (), {"wait": lambda self: None})()
        with pytest.raises(Interrupted) as raised:
            stopping.interrupt(run, number)
        return raised.value

    assert interrupted((2, 4), slurm.TIME_IS_NEARLY_UP).again
    assert interrupted((1, 9), slurm.TIME_IS_NEARLY_UP).again
    assert not interrupted((2, 4), signal.SIGTERM).again
    stuck = interrupted((2, 5), slurm.TIME_IS_NEARLY_UP)
    assert not stuck.again and "no time was left for a single step" in str(stuck)


def test_a_forgetful_squeue_is_told(scontrol):
    scontrol(age=60)
    assert "forgets jobs here 60 s" in slurm.forgets_jobs("squeue")
    assert slurm.forgets_jobs("sacct") == ""
    scontrol(age=300)
    assert slurm.forgets_jobs("squeue") == ""
