"""Whether the sparse model lost no more accuracy than the configuration allows."""

from __future__ import annotations

from pathlib import Path

from ..models import SPARSE
from ..system.errors import TwoFourError
from .compare import Table


def largest_drop(table: Table, limit: float | None, path: Path) -> float:
    """The most points of top-1 that a sparse model lost in some backend.

    Raises TwoFourError if it is more than ``limit``, or if there is no limit; ``path`` is the file
    that holds the ``table``.
    """
    if limit is None:
        raise TwoFourError("accept.max_top1_drop is not set; there is nothing to check")
    sparse = table.of_kind(SPARSE)
    worst = sparse.loc[sparse["top1_drop"].idxmax()]
    if worst["top1_drop"] > limit:
        raise TwoFourError(
            f"not accepted: the {worst['model']} model is {worst['top1_drop']:.2f} points of top-1 "
            f"below the dense one in {worst['backend']} {worst['precision']}, and "
            f"accept.max_top1_drop allows {limit:g}; the table is in {path}"
        )
    return float(worst["top1_drop"])
