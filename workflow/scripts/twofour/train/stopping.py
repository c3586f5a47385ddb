"""Stopping a training without losing anything: signals become a question between two steps."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ..system import slurm
from ..system.cli import Interrupted
from . import launch
from .state import State


@contextmanager
def signals(patience: float) -> Iterator[Callable[[], int]]:
    """Turn signals into a number, to be asked for between steps, 0 for none; a second one kills.

    Those that follow the first within ``patience`` seconds mean the same: paddle.distributed.launch
    sends several. The process that started this one may also ask for a stop (see :mod:`.launch`).
    """
    first: list[tuple[int, float]] = []

    def note(number, frame):
        if not first:
            first.append((number, time.monotonic()))
        elif time.monotonic() - first[0][1] > patience:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    old = {number: signal.signal(number, note) for number in launch.STOP_SIGNALS}
    try:
        yield lambda: first[0][0] if first else launch.stop_asked()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def interrupt(state: State, number: int) -> NoReturn:
    """Save and raise Interrupted, for a signal that this process may have got, or another."""
    state.save()
    state.writer.wait()
    # Nobody leaves before the first process has written.
    time_is_up = state.plan.group.any(number == slurm.TIME_IS_NEARLY_UP)[0]
    reason, again = "", False
    if time_is_up:
        reason = f", since {launch.TIME_IS_UP}"
        again = (state.epoch, state.step) > state.begun
        if not again:
            reason = ", since no time was left for a single step"
    raise Interrupted(
        f"{launch.STOPPED} {state.epoch}, step {state.step} of the next{reason}; "
        "saved, so the same command goes on from here",
        again,
    )
