"""Where the bytes of an image are: in a file of its own, or in a tar file among others.

The file lists call a member of a tar file <tar>@<offset>+<size>/<name>, by which it is read without
reading the tar file's headers again.
"""

from __future__ import annotations

import io
import os
import re
from typing import BinaryIO, NamedTuple

_MARK = ".tar@"
_MEMBER = re.compile(r"(.*\.tar)@(\d+)\+(\d+)/(.*)", re.DOTALL)


class Member(NamedTuple):
    """``size`` bytes of the file ``tar`` from ``offset`` on, which are called ``name`` there."""

    tar: str
    offset: int
    size: int
    name: str

    @property
    def path(self) -> str:
        """What the file lists call it."""
        return f"{self.tar}@{self.offset}+{self.size}/{self.name}"


def parse(path: str) -> Member | None:
    """The member that ``path`` stands for; None for a file of its own."""
    found = _MEMBER.fullmatch(path) if _MARK in path else None
    if not found:
        return None
    return Member(found[1], int(found[2]), int(found[3]), found[4])


def look(path: str) -> tuple[int, int]:
    """(bytes, time of the last change in ns) of an image; OSError if there is none."""
    member = parse(path)
    found = os.stat(member.tar if member else path)
    return member.size if member else found.st_size, found.st_mtime_ns


def opened(path: str) -> BinaryIO:
    """The bytes of an image, to be read; OSError if they are not there."""
    member = parse(path)
    if member is None:
        return open(path, "rb")  # noqa: PTH123 (Path is slow)
    with open(member.tar, "rb") as file:  # noqa: PTH123
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) < member.size:
        raise OSError(f"{member.tar} ends before it does")
    return io.BytesIO(content)


def order(path: str) -> tuple[str, int]:
    """By which images are sorted: those of a tar file as they lie there."""
    member = parse(path)
    return (member.tar, member.offset) if member else (path, 0)
