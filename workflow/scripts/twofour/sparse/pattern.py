"""The 2:4 pattern: what it is, whether it holds, and how much of the weights it kept.

A. Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378: of every 4 weights
that are neighbours along the input channels, at most 2 are not zero. For a convolution weight
[out, in, kh, kw] that holds for each output channel and kernel position, for a linear weight
[in, out] for each output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..system.errors import TwoFourError

GROUP, KEPT = 4, 2


def input_axis(shape: tuple[int, ...]) -> int:
    """The axis of the input channels: 1 of OIHW, 0 of [in, out]."""
    return 1 if len(shape) == 4 else 0


def eligible(shape: tuple[int, ...]) -> bool:
    """Whether 2:4 can apply: the input channels fall into whole groups of 4."""
    return shape[input_axis(shape)] % GROUP == 0


def groups(weight: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The weight as rows of neighbours along the input channels, [n, 4], padded with zeros.

    ``axis`` is where the input channels are, if not where :func:`input_axis` says.
    """
    rows = np.moveaxis(weight, input_axis(weight.shape) if axis is None else axis, -1)
    missing = -rows.shape[-1] % GROUP
    if missing:
        rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)])
    return rows.reshape(-1, GROUP)


def holds(weight: np.ndarray) -> bool:
    """Whether every group of 4 along the input channels has at most 2 non-zeros."""
    return bool((np.count_nonzero(groups(weight), axis=1) <= KEPT).all())


def require(weights: Mapping[str, np.ndarray], names: Iterable[str], where: str) -> None:
    """Raise TwoFourError if a weight in ``names`` is missing or breaks 2:4 (``where``: whose)."""
    for name in names:
        if name not in weights:
            raise TwoFourError(f"{where} has no weight {name}, which should be 2:4 sparse")
        if not holds(weights[name]):
            rows = groups(weights[name])
            broken = int((np.count_nonzero(rows, axis=1) > KEPT).sum())
            raise TwoFourError(
                f"{name} in {where} is not 2:4 sparse: {broken} of {len(rows)} groups of 4 along "
                "the input channels have more than 2 non-zeros"
            )


def kept_magnitude(
    weights: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray], names: Iterable[str]
) -> float:
    """sum |w| of ``weights`` over that of ``before``, over the layers ``names``; 1 if all is 0."""
    names = list(names)
    whole = sum(_magnitude(before[name]) for name in names)
    return sum(_magnitude(weights[name]) for name in names) / whole if whole else 1.0


def density(weights: Mapping[str, np.ndarray], names: Iterable[str]) -> float | None:
    """Non-zeros over all weights of the layers ``names``; None if there are none."""
    names = list(names)
    size = sum(weights[name].size for name in names)
    return sum(int(np.count_nonzero(weights[name])) for name in names) / size if size else None


def _magnitude(weight: np.ndarray) -> float:
    return float(np.abs(weight).sum(dtype=np.float64))
