"""Progress: a bar on a terminal, nothing elsewhere (the log has a plain line for each step)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


def bar(total: int, description: str, unit: str, initial: int = 0) -> tqdm:
    """A progress bar on standard error that vanishes when done; silent without a terminal."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )


def about(seconds: float) -> str:
    """A duration in the unit that suits it: 40 s, 25 min, 3.5 h, 12 days."""
    if seconds < 1:
        return "less than a second"
    for unit, size, limit in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 72)):
        if seconds < limit * size:
            value = seconds / size
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
