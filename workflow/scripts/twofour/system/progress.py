"""Progress: a bar on a terminal, nothing elsewhere (the log has a plain line for each step)."""

from __future__ import annotations

import sys

from tqdm import tqdm


def bar(total: int, description: str, unit: str, initial: int = 0) -> tqdm:
    """A progress bar on standard error that vanishes when done; silent without a terminal."""
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
