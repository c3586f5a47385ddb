"""Starting the processes of a training with paddle.distributed.launch, and waiting for them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..system import cli, slurm
from ..system.cli import Interrupted, log
from ..system.errors import TwoFourError
from ..system.hardware import Machine, visible_gpus
from .parallel import PEER_LOST, RANK

LOGS = "ranks"  # folder beside the results, with the output of each process
STOP = "stop"  # a file there tells all processes to save and end; it holds the signal's number
STOPPED, FAILED = "stopped after epoch", "error: "  # how the last line of a process may begin
TIME_IS_UP = "its time is nearly up"  # what that line contains in that case
PATIENCE_S = 2  # signals that follow the first one this soon count as the same one
# The last two are the batch system's and ours, see slurm.py.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, slurm.TIME_IS_NEARLY_UP, slurm.STOP)
_LOG = "workerlog.{}"
_TAIL = 20_000  # characters of a log that are read


def launched() -> bool:
    """Whether this process is one of those that :func:`run` has started."""
    return RANK in os.environ


def stop_asked() -> int:
    """The signal with which the process that started this one was told to stop; 0 for none."""
    try:
        said = Path(os.environ.get("PADDLE_LOG_DIR", ""), STOP).read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(said) if said else signal.SIGTERM


def run(script: Path, arguments: list[str], machine: Machine, out: Path) -> None:
    """Run ``script`` in the processes of ``machine`` and wait for all of them.

    The first one's messages are passed on. SIGINT or SIGTERM makes them save at the end of a step,
    however long that takes; a second signal makes them end soon. Raises Interrupted if they were
    told to stop and have saved, and TwoFourError with the number of the process that failed and its
    error.
    """
    logs = out / LOGS
    shutil.rmtree(logs, ignore_errors=True)
    folders = [logs / f"node{n}" for n in range(machine.nodes)] if machine.nodes > 1 else [logs]
    for folder in folders:
        folder.mkdir(parents=True)
    if machine.nodes > 1:
        command, environment = slurm.on_each_node(machine.nodes, str(script), arguments)
        status, stopping, said = _watch(_started(command, environment, subprocess.STDOUT), None)
    else:
        status, stopping, said = _watch(_launcher(script, arguments, machine, logs), logs)
    if status == 0:
        shutil.rmtree(logs, ignore_errors=True)
        return
    found = [folder / _LOG.format(n) for folder in folders for n in range(machine.processes)]
    _explain(found, stopping, said)


def run_on_node(script: Path, arguments: list[str], machine: Machine, out: Path) -> int:
    """This node's part of :func:`run`; returns the exit status, whose reason is in the logs."""
    number = slurm.node()
    logs = out / LOGS / f"node{number}"
    meeting = ["--master", slurm.meeting_point(), "--nnodes", str(machine.nodes)]
    launcher = _launcher(script, arguments, machine, logs, [*meeting, "--rank", str(number)])
    status, _, _ = _watch(launcher, logs, show=number == 0)
    return status


def _launcher(
    script: Path,
    arguments: list[str],
    machine: Machine,
    logs: Path,
    options: Sequence[str] = (),
) -> subprocess.Popen:
    """PaddlePaddle's launcher with the processes of this node."""
    environment = {**os.environ, cli.TIED: cli.ANY_PARENT}
    if machine.device == "gpu":
        devices = ["--devices", ",".join(visible_gpus()[: machine.processes])]
    else:
        devices = ["--nproc_per_node", str(machine.processes)]
        # The launcher requires a GPU for each process if it sees any; -1 hides them.
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(["-1"] * machine.processes)
    command = [
        *(sys.executable, "-m", "paddle.distributed.launch", "--log_level", "ERROR", *options),
        *("--log_dir", str(logs), *devices, str(script), *arguments),
    ]
    # stderr would be pages of the launcher's own messages; ours are in the logs
    return _started(command, environment, subprocess.DEVNULL)


def _started(command: list[str], environment: dict[str, str], stderr: int) -> subprocess.Popen:
    parent = os.getpid()

    def prepare() -> None:
        cli.end_with_parent(signal.SIGTERM, parent)
        for number in (slurm.TIME_IS_NEARLY_UP, slurm.STOP):  # which SLURM sends to all processes
            signal.signal(number, signal.SIG_IGN)

    try:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C reaches this process alone
            preexec_fn=prepare,
        )
    except OSError as error:
        raise TwoFourError(f"cannot start {command[0]}: {error.strerror or error}") from error


def _watch(
    running: subprocess.Popen, logs: Path | None, show: bool = True
) -> tuple[int, bool, str]:
    """Pass on what ``running`` says, and signals to it, until it ends.

    ``logs`` is the folder of its processes; None if these are on other nodes. Returns its exit
    status, whether it was told to stop, and its error messages.
    """
    errors = []
    assert running.stdout is not None  # it is a pipe
    with _passed_on(running, logs) as stopping:
        seen = {""}
        for line in running.stdout:
            text = line.rstrip()
            if text in seen or _NOISE.match(text):
                continue
            seen.add(text)  # the launcher repeats the last lines of a process that fails
            if text.startswith((FAILED, *_SLURM)):
                errors.append(text.removeprefix(FAILED))
            elif not show:
                continue
            elif slurm.on_a_node():
                print(text, flush=True)  # for the process that started the training
            else:
                log.info("%s", text)
        status = running.wait()
    if logs and status:
        for path in logs.iterdir():  # the launcher dumps the whole environment
            if not path.match(_LOG.format("*")):
                path.unlink()
    return status, bool(stopping), "; ".join(errors)


@contextmanager
def _passed_on(running: subprocess.Popen, logs: Path | None) -> Iterator[list]:
    """Turn a signal into the file that the processes look for, and a second one into SIGTERM.

    PaddlePaddle's launcher gives its processes half a minute after a signal, which may be too
    little to save. Other nodes get the first one as a signal, since a file takes long to appear
    there. Yields the list of the times at which signals arrived.
    """
    received: list[float] = []

    def note(number: int, _frame) -> None:
        received.append(time.monotonic())
        if len(received) == 1 and logs:
            (logs / STOP).write_text(str(number), encoding="utf-8")
        elif len(received) == 1:
            running.send_signal(slurm.STOP)
        elif received[-1] - received[0] > PATIENCE_S:
            running.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SLURM = ("srun: ", "slurmstepd: ")  # how its messages begin
# What libraries print while processes connect.
_NOISE = re.compile(
    r"(server not ready|not ready endpoints|[IWE]\d{4} |\[?INFO|Prefix dict|LAUNCH )"
)


def _explain(logs: list[Path], stopping: bool, said: str = "") -> None:
    """Raise the reason why the processes ended, found in their ``logs`` or in what was ``said``."""
    count = len(logs)
    last = [_last_words(path) for path in logs]
    for words in last:
        if words.startswith(STOPPED):
            raise Interrupted(words, again=TIME_IS_UP in words)
    failed = [r for r, w in enumerate(last) if w.startswith(FAILED) and PEER_LOST not in w]
    if failed:
        rank = failed[0]
        if (count > 1 and len({last[r] for r in failed}) > 1) or len(failed) < count:
            where = f"process {rank} of {count} (log {logs[rank]}): "
        else:
            where = ""  # all say the same
        raise TwoFourError(where + last[rank][len(FAILED) :])
    if stopping:
        raise Interrupted(
            "stopped before the end of its first step; the same command resumes from the last "
            "checkpoint, if there is one"
        )
    if said and not any(path.exists() for path in logs):  # none has been started
        raise TwoFourError(said)
    silent = [r for r, w in enumerate(last) if not w.startswith(FAILED)]
    if not silent:
        raise TwoFourError(f"{last[0][len(FAILED) :]}; the output of each process is in {LOGS}/")
    rank = silent[0]
    raise TwoFourError(
        f"process {rank} of {count} of the training ended without an error message, as when it is "
        f"killed, for instance for lack of memory; its log is {logs[rank]}, and the same command "
        "resumes from the last checkpoint"
    )


def _last_words(path: Path) -> str:
    """The last line of a process's log that is ours; "" if there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
    except OSError:
        return ""
    ours = [line for line in text.splitlines() if line.startswith((STOPPED, FAILED))]
    return ours[-1] if ours else ""
