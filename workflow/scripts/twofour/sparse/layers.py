"""Which layers become 2:4 sparse, why or why not, and the result, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..system import patterns
from ..system.errors import TwoFourError
from ..system.files import PathLike, read_json
from .pattern import GROUP, density, eligible, holds, input_axis, kept_magnitude


@dataclass(frozen=True)
class Choice:
    """Whether a weight is to be 2:4 sparse, and why or why not."""

    sparse: bool
    reason: str


def choose(
    weights: Mapping[str, tuple[int, ...]], include: Iterable[str], exclude: Iterable[str]
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
            choice = Choice(False, f"its {inputs} input channels are not a multiple of {GROUP}")
        elif excluded is not None:
            choice = Choice(False, f"sparsity.exclude names {excluded}")
        elif patterns.first_match(name, include) is None:
            choice = Choice(False, "no pattern of sparsity.include matches its name")
        else:
            choice = Choice(True, f"2:4 along its {inputs} input channels")
        choices[name] = choice
    return choices


def chosen(choices: Mapping[str, Choice]) -> list[str]:
    """Names of the weights that are to be sparse, in their order."""
    return [name for name, choice in choices.items() if choice.sparse]


def require_some(choices: Mapping[str, Choice]) -> None:
    """Raise TwoFourError if no layer is left to prune."""
    if not chosen(choices):
        raise TwoFourError(
            "sparsity.include and sparsity.exclude leave no layer to prune; include more layers "
            "whose input channels are a multiple of 4, or exclude fewer"
        )


def report(
    weights: Mapping[str, np.ndarray],
    choices: Mapping[str, Choice],
    before: Mapping[str, np.ndarray] | None = None,
) -> dict:
    """What sparsity.json holds: a row for every weight, and totals over those that are sparse.

    ``density`` is the share of non-zeros. ``kept_magnitude`` is sum |w| over that of ``before``,
    the same weights before pruning; it is left out where ``before`` is not given.
    """
    layers = []
    for name, choice in choices.items():
        weight = weights[name]
        row: dict[str, Any] = {
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
    total: dict[str, Any] = {"layers": len(names), "weights": sum(weights[n].size for n in names)}
    total["density"] = density(weights, names)
    if before is not None:
        total["kept_magnitude"] = kept_magnitude(weights, before, names)
    return {"total": total, "layers": layers}


def choices(report: Mapping) -> dict[str, Choice]:
    """The choices that a report was made with."""
    return {row["name"]: Choice(row["sparse"], row["reason"]) for row in report["layers"]}


def taken(file: PathLike, before: Mapping[str, Choice]) -> dict[str, Choice]:
    """The choices in a choice.json; TwoFourError unless they are about the layers ``before``."""
    found = read_json(file)["choices"]
    sparse = {name for name, one in before.items() if one.sparse}
    if set(found) != set(before) or any(found[n]["sparse"] and n not in sparse for n in found):
        raise TwoFourError(f"{file} was chosen for other layers; choose again")
    return {name: Choice(**found[name]) for name in before}
