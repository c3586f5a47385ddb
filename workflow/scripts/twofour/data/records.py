"""Verdicts on files that were checked before, so that only new and changed ones are decoded.

An SQLite database beside the dataset stage's artifacts. A file counts as unchanged if its size and
modification time are.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from ..system.errors import TwoFourError
from .images import Verdict

NAME = "checked.sqlite"
COMMIT_EVERY = 2000  # files; a killed check loses at most these


@contextmanager
def open_records(folder: Path, code: str) -> Iterator[Records]:
    """The records in ``folder``; those made by other ``code`` (a hash) are discarded."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    try:
        try:
            database = _connect(path, code)
        except sqlite3.DatabaseError:  # damaged: it can be recreated
            path.unlink(missing_ok=True)
            database = _connect(path, code)
        try:
            records = Records(database)
            yield records
            records.commit()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise TwoFourError(f"cannot write {path}: {error}") from error


def _connect(path: Path, code: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE IF NOT EXISTS code (hash TEXT)")
    if database.execute("SELECT hash FROM code").fetchall() != [(code,)]:
        database.executescript("DROP TABLE IF EXISTS files; DELETE FROM code;")
        database.execute("INSERT INTO code VALUES (?)", (code,))
    database.execute(
        "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, "
        "reason TEXT, width INTEGER, height INTEGER, digest BLOB, orientation INTEGER, "
        "misnamed INTEGER) WITHOUT ROWID"
    )
    database.commit()
    return database


class Records:
    """Verdicts by path; see :func:`open_records`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._earlier = database.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None
        self._waiting: list[tuple] = []

    def find(self, path: str, size: int, changed: int) -> Verdict | None:
        """The verdict on the file at ``path``, if it has this size and modification time (ns)."""
        if not self._earlier:
            return None
        row = self._database.execute(
            "SELECT size, reason, width, height, digest, orientation, misnamed FROM files "
            "WHERE path = ? AND size = ? AND changed = ?",
            (os.fsencode(path), size, changed),
        ).fetchone()
        if row is None:
            return None
        size, reason, width, height, digest, orientation, misnamed = row
        return Verdict(reason, size, width, height, digest, orientation, bool(misnamed))

    def add(self, path: str, changed: int, verdict: Verdict) -> None:
        """Note the ``verdict`` on the file at ``path``, which was modified at that time (ns)."""
        values = (os.fsencode(path), verdict.size, changed, verdict.reason, verdict.width)
        flags = (verdict.orientation, int(verdict.misnamed))
        self._waiting.append((*values, verdict.height, verdict.digest, *flags))
        if len(self._waiting) >= COMMIT_EVERY:
            self.commit()

    def commit(self) -> None:
        """Write what was added."""
        rows = sorted(
            self._waiting, key=itemgetter(0)
        )  # in the order of the table, which is faster
        self._database.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._waiting.clear()
        self._database.commit()

    def forget_others(self, paths: Iterable[str]) -> None:
        """Drop the earlier records of all files but ``paths``."""
        if not self._earlier:
            return
        self._database.execute("CREATE TEMP TABLE kept (path BLOB PRIMARY KEY) WITHOUT ROWID")
        rows = ((os.fsencode(path),) for path in paths)
        self._database.executemany("INSERT OR IGNORE INTO kept VALUES (?)", rows)
        self._database.execute("DELETE FROM files WHERE path NOT IN (SELECT path FROM kept)")
        self._database.execute("DROP TABLE kept")
