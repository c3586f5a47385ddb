"""Several processes for one job's files."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import signal

from .cli import end_with_parent


def processes(count: int) -> multiprocessing.pool.Pool:
    """A pool of ``count`` worker processes, which end with this one, however it ends."""
    # fork: nothing here has started threads that run, and spawn would import everything again
    return multiprocessing.get_context("fork").Pool(count, _start)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends them
    end_with_parent(signal.SIGKILL)
