"""Finding the file that stopped DALI, which it does not always name."""

from __future__ import annotations

from collections.abc import Sequence

from .images import inspect

INSPECTED = 100_000  # files that are checked to find the one that could not be read


def unreadable(paths: Sequence[str], error: Exception) -> str:
    """A sentence on the file of ``paths`` that made DALI raise ``error``."""
    for path in paths[:INSPECTED]:
        reason = inspect(path, thorough=True).reason
        if reason:
            return (
                f"an image cannot be read: {path} ({reason}); it has changed since the dataset "
                "stage, so run the workflow again, which checks all images again"
            )
    return f"an image cannot be read: {first_line(error)}"


def first_line(error: Exception) -> str:
    """The informative line of DALI's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("Error in", "Failed", "["))] or lines
    return telling[0] if telling else type(error).__name__
