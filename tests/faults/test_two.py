"""Two at once: refused, or one after the other."""

import multiprocessing
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
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


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


def test_runs_of_different_names_go_one_after_the_other(folder):
    """Beside each other they would spoil each other's timings."""
    first = started(folder, "slow")
    wait_for(folder / "results/slow/dense/checkpoints", first)
    second = started(folder, "b")
    said = second.communicate()[1]
    assert first.poll() == 0  # it had ended before the second began
    assert second.returncode == 0 and f"waiting for process {first.pid} on" in said
    made = [(folder / TARGET.format(run)).stat().st_mtime for run in ("slow", "b")]
    assert made == sorted(made)


def test_a_waiting_run_can_be_stopped(folder):
    first = started(folder, "slow")
    wait_for(folder / "results/slow/dense/checkpoints", first)
    second = started(folder, "b")
    for line in second.stderr:
        if line.startswith("waiting for process"):
            break
    second.send_signal(signal.SIGINT)
    said = second.communicate(timeout=20)[1]
    assert second.returncode != 0 and "Traceback" not in said
    assert "stopped while waiting for the other run; nothing was begun" in said
    assert first.wait() == 0


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
