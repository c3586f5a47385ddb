"""Starting the processes of one training, by paddle.distributed.launch, and seeing them through."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from . import cli
from .cli import Interrupted, log
from .errors import TwoFourError
from .hardware import Hardware, visible_gpus
from .parallel import PEER_LOST, RANK

LOGS = "ranks"  # folder beside the results, with what each process said
STOPPED, FAILED = "stopped after epoch", "error: "  # how the last line of a process may begin
_TAIL = 20_000  # characters of a log that are looked at


def launched() -> bool:
    """Whether this process is one of those that :func:`run` has started."""
    return RANK in os.environ


def run(script: Path, arguments: list[str], machine: Hardware, out: Path) -> None:
    """Run ``script`` in ``machine.processes`` processes and wait for all of them.

    The first one's messages are passed on. Raises Interrupted if they were told to stop and have
    saved, and TwoFourError with the number of the process that failed and its error.
    """
    logs = out / LOGS
    shutil.rmtree(logs, ignore_errors=True)
    environment = dict(os.environ)
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
        start_new_session=True,  # Ctrl-C reaches this process, which passes it on once
        preexec_fn=cli.end_with_parent,
    )
    before = {
        name: signal.signal(name, lambda *_: launcher.send_signal(signal.SIGTERM))
        for name in (signal.SIGINT, signal.SIGTERM)
    }
    said = {""}
    try:
        for line in launcher.stdout:
            text = line.rstrip()
            # The launcher repeats the last lines of a process that fails.
            if text in said or text.startswith(FAILED) or _NOISE.match(text):
                continue
            said.add(text)
            log.info("%s", text)
        status = launcher.wait()
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    if status == 0:
        shutil.rmtree(logs, ignore_errors=True)
        return
    _explain(logs, machine.processes)


# What libraries say when processes meet.
_NOISE = re.compile(
    r"(server not ready|not ready endpoints|[IWE]\d{4} |\[?INFO|Prefix dict|LAUNCH )"
)


def _explain(logs: Path, count: int) -> None:
    """Raise what made the processes end, read from their logs."""
    last = [_last_words(logs / f"workerlog.{rank}") for rank in range(count)]
    if any(words.startswith(STOPPED) for words in last):
        raise Interrupted(next(words for words in last if words.startswith(STOPPED)))
    failed = [r for r, w in enumerate(last) if w.startswith(FAILED) and PEER_LOST not in w]
    if failed:
        rank = failed[0]
        if (count > 1 and len({last[r] for r in failed}) > 1) or len(failed) < count:
            where = f"process {rank} of {count}: "
        else:
            where = ""  # all say the same
        raise TwoFourError(where + last[rank][len(FAILED) :])
    silent = [r for r, w in enumerate(last) if not w.startswith(FAILED)]
    rank = silent[0] if silent else 0
    raise TwoFourError(
        f"process {rank} of {count} of the training ended without a word, as it does when it is "
        f"killed, for instance for lack of memory; its log is {logs / f'workerlog.{rank}'}, and "
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
