"""Whether the sparse model lost no more accuracy than the configuration allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..models import SPARSE
from ..system.errors import TwoFourError
from .compare import Table, over_seeds
from .settings import Accept

COLUMNS = {"point": "top1_drop", "bound": "drop_high"}


def judge(table: Table, accept: Accept, path: Path) -> dict[str, Any]:
    """What accept.json holds: the limit, what is judged, and the most that a sparse model lost.

    Raises TwoFourError if it is more than ``accept.max_top1_drop``, or if there is no limit;
    ``path`` is the file that holds the ``table``.
    """
    limit, column = accept.max_top1_drop, COLUMNS[accept.judge]
    if limit is None:
        raise TwoFourError("accept.max_top1_drop is not set; there is nothing to check")
    sparse = over_seeds(table).of_kind(SPARSE)  # of several seeds, the means
    worst = sparse.loc[sparse[column].idxmax()]
    drop = float(worst[column])
    if drop > limit:
        may = "may be up to" if accept.judge == "bound" else "is"
        interval = " (the bound of the 95 % interval)" if accept.judge == "bound" else ""
        raise TwoFourError(
            f"not accepted: the {worst['model']} model {may} {drop:.2f} points of top-1 below "
            f"{worst['drop_against']} in {worst['backend']} {worst['precision']}{interval}, and "
            f"accept.max_top1_drop allows {limit:g}; the table is in {path}"
        )
    return {
        "max_top1_drop": limit,
        "judge": accept.judge,
        "largest_drop": drop,
        "against": worst["drop_against"],
    }
