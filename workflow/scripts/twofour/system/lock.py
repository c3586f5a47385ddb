"""One writer at a time in a folder, enforced by the operating system's file locks.

A lock is released when its process ends, however that happens, so that none is ever left behind.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cli import log
from .errors import TwoFourError

WAIT_S = 60  # a process that was told to stop needs a moment to save
NAME = ".lock"


@contextmanager
def exclusive(folder: Path, wait: float = WAIT_S) -> Iterator[None]:
    """Hold ``folder`` for this process; TwoFourError if another holds it for ``wait`` seconds."""
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise TwoFourError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        _acquire(file, folder, wait)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _acquire(file, folder: Path, wait: float) -> None:
    until, told = time.monotonic() + wait, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks
            log.warning("%s cannot be locked; make sure that only one process works there", folder)
            return
        file.seek(0)
        holder = file.read().strip() or "another process"
        if time.monotonic() >= until:
            raise TwoFourError(
                f"{holder} is working in {folder}; wait until it has ended, or stop it, and run "
                "the same command again"
            )
        if not told:
            log.warning("waiting for %s, which is working in %s", holder, folder)
            told = True
        time.sleep(0.2)
