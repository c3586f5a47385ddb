"""Several processes for one job's files."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from .cli import end_with_parent
from .errors import TwoFourError

_AHEAD = 4  # chunks that are queued for each process


def ordered(function: Callable, items: Iterable, workers: int, chunk: int = 1) -> Iterator:
    """``function`` of each of ``items``, in their order, by ``workers`` processes.

    They take ``chunk`` items at a time, and end with this process, however it ends. Raises
    TwoFourError if one of them is killed.
    """
    rest = iter(items)
    chunks = iter(lambda: list(itertools.islice(rest, chunk)), [])
    # fork is faster, since spawn imports everything again; but a fork of a process in which DALI
    # has started threads hangs as soon as it uses DALI.
    context = multiprocessing.get_context("spawn" if "nvidia.dali" in sys.modules else "fork")
    pool = ProcessPoolExecutor(workers, context, _start, (os.getpid(),))
    running: collections.deque = collections.deque()
    try:
        for part in chunks:
            running.append(pool.submit(_each, function, part))
            if len(running) >= _AHEAD * workers:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()
    except BrokenProcessPool as error:
        raise TwoFourError(
            f"one of {workers} processes was killed, as happens for lack of memory; the same "
            "command resumes from here, and fewer cores (snakemake --cores) need less memory"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _each(function: Callable, items: list) -> list:
    return [function(item) for item in items]


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and ends them
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(signal.SIGKILL, parent)
