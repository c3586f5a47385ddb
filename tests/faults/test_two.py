"""Two at once: refused, or one after the other."""

import contextlib
import functools
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time

from twofour.system import lock
from twofour.system.errors import TwoFourError

import pytest
import yaml
from conftest import ROOT, TINY, make_images, merged, snakemake

CONFIG = merged(TINY, {"run": "a", "data": {"root": "images"}, "train": {"epochs": 3}})
TARGET = "results/{}/dense/model.pdparams"


@pytest.fixture
def folder(tmp_path):
    make_images(tmp_path / "images")
    for run in "ab":
        (tmp_path / f"{run}.yaml").write_text(yaml.safe_dump({**CONFIG, "run": run}))
    slow = merged(CONFIG, {"run": "slow", "train": {"epochs": 150}})  # outlasts Snakemake's start
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(slow))
    return tmp_path


def started(folder, run):
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]
    command += [TARGET.format(run), "--configfile", f"{run}.yaml", "--cores", "1"]
    pipe = subprocess.PIPE
    # A background job of a shell ignores SIGINT, and so would all that it starts.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed
    )


def wait_for(path, process):
    until = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert path.exists(), process.communicate()[1]


def test_second_run_on_the_same_results_is_refused_and_loses_nothing(folder):
    first = started(folder, "slow")
    wait_for(folder / "results/slow/dense/checkpoints", first)
    second = started(folder, "slow")
    said = second.communicate()[1]
    assert second.returncode != 0
    assert "lock" in said.lower() and "Traceback" not in said
    assert first.wait() == 0
    assert (folder / TARGET.format("slow")).exists()


def running(folder):
    """What a run from this folder holds as long as it is at work."""
    return folder / "results" / ".running" / platform.node()


def until_it_waits(process):
    """The line with which a run says that it waits."""
    for line in process.stderr:
        if line.startswith("waiting for process"):
            return line
    raise AssertionError("it did not wait")


def interrupted(process):
    """What it says when it is told to stop: again, like a user, if Python has lost the first.

    An exception that a signal raises within a destructor is ignored.
    """
    for _ in range(3):
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=15)[1]
    raise AssertionError("it does not stop")


def test_a_run_waits_for_another_of_another_name(folder):
    """Beside each other they would spoil each other's timings."""
    with lock.exclusive(running(folder)):
        second = started(folder, "b")
        assert f"waiting for process {os.getpid()} on" in until_it_waits(second)
        assert second.poll() is None and not (folder / "results/b").exists()
    second.communicate()
    assert second.returncode == 0 and (folder / TARGET.format("b")).exists()


def test_a_run_is_alone_while_it_lasts(folder):
    first = started(folder, "slow")
    wait_for(folder / "results/slow/dense/checkpoints", first)
    refused = pytest.raises(TwoFourError, match=rf"process {first.pid} on .* is working in")
    with refused, lock.exclusive(running(folder), wait=0):
        raise AssertionError("not reached")
    first.communicate()
    with lock.exclusive(running(folder), wait=5):
        pass


def test_a_waiting_run_can_be_stopped(folder):
    with lock.exclusive(running(folder)):
        second = started(folder, "b")
        until_it_waits(second)
        said = interrupted(second)
    assert second.returncode != 0 and "Traceback" not in said
    assert "stopped while waiting for the other run; nothing was begun" in said
    assert not (folder / "results/b").exists()


def test_after_a_kill_the_message_says_what_to_type(folder):
    process = started(folder, "slow")
    wait_for(folder / "results/slow/dense/checkpoints", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = (TARGET.format("slow"), "--configfile", "slow.yaml", "--cores", 1)
    done = snakemake(folder, *again, check=False)
    assert done.returncode != 0 and "--unlock" in done.stderr
    snakemake(folder, *again, "--unlock")
    snakemake(folder, *again)
    assert (folder / TARGET.format("slow")).exists()


def hold(path, entered, leave):
    with lock.exclusive(path):
        entered.set()
        leave.wait(30)


def test_lock_waits_then_names_its_holder_and_goes_with_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, entered, leave))
    other.start()
    assert entered.wait(30)
    refused = pytest.raises(TwoFourError, match=rf"process {other.pid} on .* is working in")
    with refused, lock.exclusive(tmp_path, wait=0.3):
        raise AssertionError("not reached")
    other.kill()  # without a chance to clean up
    other.join()
    with lock.exclusive(tmp_path, wait=5):
        pass
