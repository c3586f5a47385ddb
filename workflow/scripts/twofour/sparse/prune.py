"""Pruning: masks applied to weights, and a report on what they kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from . import layers, masks, pattern
from .layers import Choice

Weights = Mapping[str, np.ndarray]


def prune(
    weights: Weights, names: Iterable[str], algorithm: str, norms: Weights | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A copy of ``weights`` with those in ``names`` pruned by ``algorithm``, and their masks.

    ``norms`` {weight: norms of its input channels} are for algorithms that judge by inputs.
    """
    norms = norms or {}
    kept = {name: masks.make(algorithm, weights[name], norms.get(name)) for name in names}
    pruned = {name: np.where(mask, weights[name], 0) for name, mask in kept.items()}
    return {**weights, **{n: w.astype(weights[n].dtype) for n, w in pruned.items()}}, kept


def report(
    pruned: Weights,
    dense: Weights,
    choices: Mapping[str, Choice],
    algorithm: str,
    unpermuted: Weights | None = None,
) -> dict:
    """What sparsity.json holds for a pruned network.

    With ``unpermuted``, the dense weights before their channels were reordered, it also says how
    much of those the same algorithm, one by magnitude, keeps.
    """
    result = layers.report(pruned, choices, before=dense)
    if unpermuted is not None:
        names = layers.chosen(choices)
        after, _ = prune(unpermuted, names, algorithm)
        for row in result["layers"]:
            if row["sparse"]:
                share = pattern.kept_magnitude(after, unpermuted, [row["name"]])
                row["kept_magnitude_unpermuted"] = share
        total = pattern.kept_magnitude(after, unpermuted, names)
        result["total"]["kept_magnitude_unpermuted"] = total
    return {"algorithm": algorithm, **result}
