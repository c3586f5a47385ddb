"""Ranges of activations: the limit above which values are clipped, from a sample of images.

A tensor x becomes clip(round(x / s), -127, 127) with s = limit / 127; what the limit should be, the
algorithms judge by the histogram of |x|.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

ALGORITHMS = ("minmax", "percentile", "mse", "entropy")
LEVELS, UNSIGNED = 127, 255  # the largest integers of int8 and uint8
BINS = 2048
_SMALLEST = 128  # bins that a searched limit keeps at least
_STEP = 8  # bins between the limits that are tried

# name of a tensor → its values
Values = Mapping[str, np.ndarray]


def find(
    batches: Callable[[], Iterable[Values]],
    algorithm: str = "minmax",
    percentile: float = 99.99,
) -> dict[str, float]:
    """{tensor: limit} of all tensors in ``batches``, by one of the ALGORITHMS.

    ``batches()`` yields the values of all tensors, batch by batch; it is called twice for a
    histogram, since its width must be known first. A tensor of zeros has the limit 0.
    """
    largest: dict[str, float] = {}
    for values in batches():
        for name, array in values.items():
            largest[name] = max(largest.get(name, 0.0), float(np.abs(array).max()))
    if algorithm == "minmax":
        return largest
    counts = {name: np.zeros(BINS, np.int64) for name in largest}
    for values in batches():
        for name, array in values.items():
            counts[name] += histogram(array, largest[name])
    search: dict[str, Any] = {
        "percentile": lambda c, top: by_percentile(c, top, percentile),
        "mse": by_squared_error,
        "entropy": by_entropy,
    }
    return {
        name: search[algorithm](count, largest[name]) if largest[name] else 0.0
        for name, count in counts.items()
    }


def histogram(values: np.ndarray, top: float) -> np.ndarray:
    """How many magnitudes are in each of BINS bins from 0 to ``top``."""
    if not top:
        return np.zeros(BINS, np.int64)
    return np.histogram(np.abs(values), BINS, (0, top))[0]


def by_percentile(counts: np.ndarray, top: float, percentile: float) -> float:
    """The upper end of the bin up to which ``percentile`` % of all values are."""
    share = np.cumsum(counts) / counts.sum()
    number = min(int(np.searchsorted(share, percentile / 100)) + 1, BINS)
    return number * top / BINS


def by_squared_error(counts: np.ndarray, top: float) -> float:
    """The limit with the least squared error of rounding and clipping together."""
    width = top / BINS
    centres = (np.arange(BINS) + 0.5) * width
    best, least = top, np.inf
    for limit in _limits(width):
        scale = limit / LEVELS
        rounded = np.clip(np.rint(centres / scale), 0, LEVELS) * scale
        # Within a step as wide as a bin or wider, values are spread evenly.
        error = float((counts * (rounded - centres) ** 2).sum())
        if error < least:
            best, least = limit, error
    return float(best)


def by_entropy(counts: np.ndarray, top: float) -> float:
    """The limit with the least Kullback-Leibler divergence of the clipped from the rounded values.

    As S. Migacz, "8-bit Inference with TensorRT", GTC 2017: the clipped distribution has all that
    is above the limit in its last bin; the rounded one has each level's values spread evenly over
    those of its bins that are not empty. Zeros, which every scale represents exactly, do not count.
    """
    counts = counts.astype(np.float64)
    counts[0] = 0  # ReLU's zeros would outweigh everything else
    if not counts.any():
        return top
    best, least = top, np.inf
    for size in range(_SMALLEST, BINS + 1, _STEP):
        inside = counts[:size]
        if not inside.any():
            continue
        clipped = inside.copy()
        clipped[-1] += counts[size:].sum()
        level = np.minimum(np.arange(size) * LEVELS // size, LEVELS - 1)
        filled = inside > 0
        total = np.bincount(level, inside, LEVELS)
        bins = np.bincount(level, filled, LEVELS)
        rounded = np.where(filled, (total / np.maximum(bins, 1))[level], 0)
        divergence = _divergence(clipped / clipped.sum(), rounded / rounded.sum())
        if divergence < least:
            best, least = size * top / BINS, divergence
    return float(best)


def _limits(width: float) -> Iterable[float]:
    return (number * width for number in range(_SMALLEST, BINS + 1, _STEP))


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p‖q); where q is 0 and p is not, q counts as a ten-thousandth of its mean."""
    here = p > 0
    floor = 1e-4 / len(p)
    return float((p[here] * np.log(p[here] / np.maximum(q[here], floor))).sum())
