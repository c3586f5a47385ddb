"""Stopping a training without losing anything: signals are acted on between two steps."""

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
    """Yield a function that returns the signal so far, 0 for none; a second signal kills.

    Signals within ``patience`` seconds of the first count as one: paddle.distributed.launch sends
    several. The process that started this one may also ask for a stop (see :mod:`.launch`).
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
    """Save and raise Interrupted, for a signal that this process or another one received."""
    state.save()
    state.writer.wait()
    # No process exits before the first one has written the checkpoint.
    time_is_up = state.plan.group.any(number == slurm.TIME_IS_NEARLY_UP)[0]
    reason, again = "", False
    if time_is_up:
        reason = f", since {launch.TIME_IS_UP}"
        again = (state.epoch, state.step) > state.begun
        if not again:
            reason = ", since no time was left for a single step"
    raise Interrupted(
        f"{launch.STOPPED} {state.epoch}, step {state.step} of the next{reason}; "
        "saved, so the same command resumes from here",
        again,
    )
