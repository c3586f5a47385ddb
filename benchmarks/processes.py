"""Whole processes: how long they take and how much memory they need."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import turns

# Python keeps what it compiled, as it does unless it is told otherwise.
_USUAL = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Run:
    """What a process took; ``peak_mb`` is the largest peak of it and its children."""

    seconds: float
    peak_mb: float


def run(command: list, cwd: Path | None = None, env: Mapping | None = None) -> Run:
    """Run the command to its end, quietly; SystemExit with its messages if it fails."""
    start = time.perf_counter()
    with subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, **_USUAL, **(env or {})},
    ) as process:
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{text}")
    return Run(time.perf_counter() - start, used.ru_maxrss / 1000)


def python(*arguments) -> Run:
    """Run this Python with the arguments."""
    return run([sys.executable, *arguments])


def script(name: str, *arguments) -> Run:
    """Run one of the pipeline's programs."""
    return python(turns.SCRIPTS / name, *arguments)


def in_turns(runs: Mapping[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """What each of ``runs`` took in each round, after a warm-up round."""
    done: dict[str, list[Run]] = {who: [] for who in runs}
    for number in range(rounds + 1):
        for who, function in runs.items():
            result = function()
            if number:
                done[who].append(result)
    return done
