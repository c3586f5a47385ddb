"""2:4 sparsity: which weights get it, and proof that the pattern holds.

A. Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378: of every 4 weights
that are neighbours along the input channels, at most 2 are not zero. For a convolution weight
[out, in, kh, kw] that holds for each output channel and kernel position, for a linear weight
[in, out] for each output.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from . import patterns
from .errors import TwoFourError

GROUP, KEPT = 4, 2


def input_axis(shape: tuple[int, ...]) -> int:
    """The axis of the input channels: 1 of OIHW, 0 of [in, out]."""
    return 1 if len(shape) == 4 else 0


def eligible(shape: tuple[int, ...]) -> bool:
    """Whether 2:4 can apply: the input channels fall into whole groups of 4."""
    return shape[input_axis(shape)] % GROUP == 0


@dataclass(frozen=True)
class Choice:
    """Whether a weight shall be 2:4 sparse, and why or why not."""

    sparse: bool
    reason: str


def choose(
    weights: dict[str, tuple[int, ...]], include: Iterable[str], exclude: Iterable[str]
) -> dict[str, Choice]:
    """The choice for each of ``weights`` (name → shape).

    A weight is sparse if its shape allows it, a pattern of ``include`` matches its name and none of
    ``exclude`` does.
    """
    include, exclude = list(include), list(exclude)
    choices = {}
    for name, shape in weights.items():
        inputs = shape[input_axis(shape)]
        excluded = patterns.first_match(name, exclude)
        if not eligible(shape):
            choice = Choice(False, f"its {inputs} input channels are no whole groups of {GROUP}")
        elif excluded is not None:
            choice = Choice(False, f"sparsity.exclude names {excluded}")
        elif patterns.first_match(name, include) is None:
            choice = Choice(False, "no pattern of sparsity.include matches its name")
        else:
            choice = Choice(True, f"2:4 along its {inputs} input channels")
        choices[name] = choice
    return choices


def chosen(choices: dict[str, Choice]) -> list[str]:
    """Names of the weights that shall be sparse, in their order."""
    return [name for name, choice in choices.items() if choice.sparse]


def require_some(choices: dict[str, Choice]) -> None:
    """Raise TwoFourError if no layer is left that shall be sparse."""
    if not chosen(choices):
        raise TwoFourError(
            "sparsity.include and sparsity.exclude leave no layer to prune; include more layers "
            "whose input channels are a multiple of 4, or exclude fewer"
        )


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


def require(weights: dict[str, np.ndarray], names: Iterable[str], where: str) -> None:
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


def report(
    weights: dict[str, np.ndarray],
    choices: dict[str, Choice],
    before: dict[str, np.ndarray] | None = None,
) -> dict:
    """What sparsity.json holds: a row for every weight, and totals over those that are sparse.

    ``density`` is the share of non-zeros. ``kept_magnitude`` is sum |w| over that of ``before``,
    the same weights before pruning; it is left out where ``before`` is not given.
    """
    layers = []
    for name, choice in choices.items():
        weight = weights[name]
        row = {
            "name": name,
            "shape": list(weight.shape),
            "eligible": eligible(weight.shape),
            "sparse": choice.sparse,
            "reason": choice.reason,
            "pattern_2_4": holds(weight),
            "density": np.count_nonzero(weight) / weight.size,
        }
        if before is not None:
            row["kept_magnitude"] = kept_magnitude(weights, before, [name])
        layers.append(row)
    names = chosen(choices)
    total = {"layers": len(names), "weights": sum(weights[n].size for n in names)}
    total["density"] = density(weights, names)
    if before is not None:
        total["kept_magnitude"] = kept_magnitude(weights, before, names)
    return {"total": total, "layers": layers}


def choices(report: dict) -> dict[str, Choice]:
    """The choices that a report was made with."""
    return {row["name"]: Choice(row["sparse"], row["reason"]) for row in report["layers"]}


def kept_magnitude(
    weights: dict[str, np.ndarray], before: dict[str, np.ndarray], names: Iterable[str]
) -> float:
    """sum |w| of ``weights`` over that of ``before``, over the layers ``names``; 1 if all is 0."""
    names = list(names)
    whole = sum(_magnitude(before[name]) for name in names)
    return sum(_magnitude(weights[name]) for name in names) / whole if whole else 1.0


def density(weights: dict[str, np.ndarray], names: Iterable[str]) -> float | None:
    """Non-zeros over all weights of the layers ``names``; None if there are none."""
    names = list(names)
    size = sum(weights[name].size for name in names)
    return sum(int(np.count_nonzero(weights[name])) for name in names) / size if size else None


def _magnitude(weight: np.ndarray) -> float:
    return float(np.abs(weight).sum(dtype=np.float64))


# --- paddle.incubate.asp -----------------------------------------------------------------------


def register(names: Iterable[str]) -> None:
    """Make paddle.incubate.asp treat exactly the weights ``names`` as prunable.

    ASP by itself goes by PaddlePaddle's automatic names (conv2d_0.w_0) and excludes by substring.
    Ours do not look like that, so only those registered here, by their full names, are found.
    """
    from paddle.incubate import asp
    from paddle.incubate.asp import supported_layer_list

    # ASP's own type names would also match a weight of ours that is called like one.
    supported_layer_list.supported_layers_and_prune_func_map.clear()
    for name in names:
        asp.add_supported_layer(name)


def mask_name(name: str) -> str:
    """The variable in which ASP keeps the mask of the weight ``name``."""
    return f"{name}.asp_mask"
