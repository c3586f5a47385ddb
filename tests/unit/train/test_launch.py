"""Starting a training's processes: how they are told to stop, and how their exits are explained."""

import signal

from twofour.system.cli import Interrupted
from twofour.system.errors import TwoFourError, telling
from twofour.train import launch, parallel

import pytest


class Launcher:
    def __init__(self):
        self.signals = []

    def send_signal(self, number):
        self.signals.append(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_a_file_first_so_that_saving_may_take_long(tmp_path, monkeypatch, number):
    """PaddlePaddle's launcher kills its processes 30 s after a signal."""
    now = [0.0]
    monkeypatch.setattr(launch.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("PADDLE_LOG_DIR", str(tmp_path))
    launcher = Launcher()
    with launch._passed_on(launcher, tmp_path) as received:
        assert not received and not launch.stop_asked()
        signal.raise_signal(number)
        assert received and launch.stop_asked() and not launcher.signals
        now[0] = launch.PATIENCE_S / 2  # Snakemake and the terminal both send one
        signal.raise_signal(number)
        assert not launcher.signals
        now[0] = launch.PATIENCE_S * 2
        signal.raise_signal(number)
        assert launcher.signals == [signal.SIGTERM]


def explained(folder, *logs, stopping=False):
    for rank, text in enumerate(logs):
        (folder / f"workerlog.{rank}").write_text(text)
    with pytest.raises((TwoFourError, Interrupted)) as raised:
        launch._explain([folder / f"workerlog.{n}" for n in range(len(logs))], stopping)
    return raised.type, str(raised.value)


LOST = f"error: {parallel.PEER_LOST} (Connection closed by peer)\n"


def test_what_made_the_processes_end(tmp_path):
    memory = "error: unexpected MemoryError: ResourceExhaustedError: Out of memory on GPU 1\n"
    kind, words = explained(tmp_path, LOST, memory)
    assert kind is TwoFourError and "process 1 of 2" in words and "Out of memory on GPU 1" in words
    assert str(tmp_path / "workerlog.1") in words
    kind, words = explained(tmp_path, LOST, "epoch 1/2\n")
    assert "process 1 of 2" in words and "without an error message" in words
    kind, words = explained(tmp_path, LOST, LOST)
    assert "Connection closed by peer" in words and "the output of each process is in" in words
    kind, words = explained(tmp_path, "error: no such file\n", "error: no such file\n")
    assert words == "no such file"


def test_stop_while_processes_still_start_is_no_lack_of_memory(tmp_path):
    kind, words = explained(tmp_path, "", LOST, stopping=True)
    assert kind is Interrupted and "the same command resumes" in words
    kind, words = explained(tmp_path, "stopped after epoch 2, …\n", "", stopping=True)
    assert kind is Interrupted and words == "stopped after epoch 2, …"
    kind, words = explained(tmp_path, "error: disk full\n", "error: disk full\n", stopping=True)
    assert kind is TwoFourError


def test_a_peer_that_is_lost_does_not_hide_the_cause():
    group = parallel.Group(0, 2)
    message = r"cannot be reached \(.*NCCL error: unhandled"
    with pytest.raises(TwoFourError, match=message), group.watched():
        raise RuntimeError("pages\nExternalError: NCCL error: unhandled\n  system error")


PADDLE = """
--------------------------------------
C++ Traceback (most recent call last):
--------------------------------------
0   paddle::memory::Alloc(phi::Place const&)

----------------------
Error Message Summary:
----------------------
ResourceExhaustedError: 

Out of memory error on GPU 0. Cannot allocate 1.2GB memory on GPU 0.
 (at /paddle/memory.cc:95)
"""  # noqa: W291 (PaddlePaddle's own)


def test_paddles_pages_become_a_line():
    words = telling(RuntimeError(PADDLE))
    assert words.startswith("ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate")
    assert telling(ValueError("one\n two")) == "one two"
    assert len(telling(ValueError("x" * 10_000))) == 400
