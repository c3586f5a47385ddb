"""Starting the processes of one training, by paddle.distributed.launch, and seeing them through."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import cli
from .cli import Interrupted, log
from .errors import TwoFourError
from .hardware import Hardware, visible_gpus
from .parallel import PEER_LOST, RANK

LOGS = "ranks"  # folder beside the results, with what each process said
STOP = "stop"  # a file there: all processes shall save and end
STOPPED, FAILED = "stopped after epoch", "error: "  # how the last line of a process may begin
PATIENCE_S = 2  # signals that follow the first one this soon mean the same
_LOG = "workerlog.{}"
_TAIL = 20_000  # characters of a log that are looked at


def launched() -> bool:
    """Whether this process is one of those that :func:`run` has started."""
    return RANK in os.environ


def stop_asked() -> bool:
    """Whether the process that has started this one was told to stop."""
    folder = os.environ.get("PADDLE_LOG_DIR")
    return bool(folder) and Path(folder, STOP).exists()


def run(script: Path, arguments: list[str], machine: Hardware, out: Path) -> None:
    """Run ``script`` in ``machine.processes`` processes and wait for all of them.

    The first one's messages are passed on. SIGINT or SIGTERM makes them save at the end of a step,
    however long that takes; a second one ends them soon. Raises Interrupted if they were told to
    stop and have saved, and TwoFourError with the number of the process that failed and its error.
    """
    logs = out / LOGS
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    environment = {**os.environ, cli.TIED: cli.ANY_PARENT}
    if machine.device == "gpu":
        devices = ["--devices", ",".join(visible_gpus()[: machine.processes])]
    else:
        devices = ["--nproc_per_node", str(machine.processes)]
        # The launcher wants a GPU for each process where it sees one; -1 is none.
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(["-1"] * machine.processes)
    launcher = subprocess.Popen(
        [
            *(sys.executable, "-m", "paddle.distributed.launch", "--log_level", "ERROR"),
            *("--log_dir", str(logs), *devices, str(script), *arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # pages of its own words; ours are in the logs
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # Ctrl-C reaches this process alone
        preexec_fn=functools.partial(cli.end_with_parent, signal.SIGTERM, os.getpid()),
    )
    with _passed_on(launcher, logs) as stopping:
        said = {""}
        for line in launcher.stdout:
            text = line.rstrip()
            # The launcher repeats the last lines of a process that fails.
            if text in said or text.startswith(FAILED) or _NOISE.match(text):
                continue
            said.add(text)
            log.info("%s", text)
        status = launcher.wait()
    if status == 0:
        shutil.rmtree(logs, ignore_errors=True)
        return
    for path in logs.iterdir():  # the launcher writes down the whole environment
        if not path.match(_LOG.format("*")):
            path.unlink()
    _explain(logs, machine.processes, bool(stopping))


@contextmanager
def _passed_on(launcher: subprocess.Popen, logs: Path) -> Iterator[list]:
    """Turn SIGINT and SIGTERM into the file that the processes look for, then into a signal.

    The launcher gives its processes half a minute after a signal, which may be too little to save.
    Yields the list of the times at which one came.
    """
    received: list[float] = []

    def note(*_):
        received.append(time.monotonic())
        if len(received) == 1:
            (logs / STOP).touch()
        elif received[-1] - received[0] > PATIENCE_S:
            launcher.send_signal(signal.SIGTERM)

    before = {name: signal.signal(name, note) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


# What libraries say when processes meet.
_NOISE = re.compile(
    r"(server not ready|not ready endpoints|[IWE]\d{4} |\[?INFO|Prefix dict|LAUNCH )"
)


def _explain(logs: Path, count: int, stopping: bool) -> None:
    """Raise what made the processes end, read from their logs."""
    last = [_last_words(logs / _LOG.format(rank)) for rank in range(count)]
    if any(words.startswith(STOPPED) for words in last):
        raise Interrupted(next(words for words in last if words.startswith(STOPPED)))
    failed = [r for r, w in enumerate(last) if w.startswith(FAILED) and PEER_LOST not in w]
    if failed:
        rank = failed[0]
        if (count > 1 and len({last[r] for r in failed}) > 1) or len(failed) < count:
            where = f"process {rank} of {count} (log {logs / _LOG.format(rank)}): "
        else:
            where = ""  # all say the same
        raise TwoFourError(where + last[rank][len(FAILED) :])
    if stopping:
        raise Interrupted(
            "stopped without a step since it started; the same command goes on from the last "
            "checkpoint, if there is one"
        )
    silent = [r for r, w in enumerate(last) if not w.startswith(FAILED)]
    if not silent:
        raise TwoFourError(f"{last[0][len(FAILED) :]}; what each process said is in {logs}")
    rank = silent[0]
    raise TwoFourError(
        f"process {rank} of {count} of the training ended without a word, as it does when it is "
        f"killed, for instance for lack of memory; its log is {logs / _LOG.format(rank)}, and "
        "the same command goes on from the last checkpoint"
    )


def _last_words(path: Path) -> str:
    """The last line of a process's log that is ours; "" if there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
    except OSError:
        return ""
    ours = [line for line in text.splitlines() if line.startswith((STOPPED, FAILED))]
    return ours[-1] if ours else ""
