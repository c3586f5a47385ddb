"""Choosing weights by exact names or by patterns with the wildcards ``*``, ``?`` and ``[…]``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from .errors import TwoFourError


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """The first of ``patterns`` that ``name`` matches, or None. A ``*`` matches dots, too."""
    return next((p for p in patterns if name == p or fnmatchcase(name, p)), None)


def require(patterns: Iterable[str], names: Iterable[str], key: str, where: str) -> None:
    """Raise TwoFourError if one of ``patterns``, given as ``key``, matches none of ``names``."""
    names = list(names)
    for pattern in patterns:
        if not any(first_match(name, [pattern]) for name in names):
            raise TwoFourError(
                f"{key}: {where} has no weight {pattern!r}{suggestion(pattern, names)}"
            )


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` with the known name that looks most like ``name``, or nothing."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known name that looks most like ``name``, if one does; ``cutoff`` is from 0 to 1."""
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=cutoff)
    return close[0] if close else None
