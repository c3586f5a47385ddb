"""Which epoch was the best, and whether a training has stopped to improve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def best(history: Sequence[Mapping[str, Any]]) -> int:
    """Index of the row of metrics.csv with the highest top-1, then the lowest validation loss.

    Of equal ones it is the first.
    """
    return max(range(len(history)), key=lambda i: (history[i]["top1"], -history[i]["val_loss"]))


def stalled(history: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether ``patience`` epochs have passed since the best one; never if it is 0."""
    return patience > 0 and bool(history) and len(history) - 1 - best(history) >= patience
