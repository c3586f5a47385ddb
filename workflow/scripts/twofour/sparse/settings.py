"""The section ``sparsity`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..system.sections import Section, key
from .masks import ALGORITHMS

_ALGORITHM = {"enum": list(ALGORITHMS)}


@dataclass(frozen=True, repr=False)
class Sparsity(Section):
    """Which weights become 2:4 sparse, and how those to keep are chosen."""

    algorithm: str | list[str] = key(
        "mask_1d",
        "how the weights to keep are chosen: mask_1d keeps the 2 largest of each 4 along the input "
        "channels; mask_2d_best and mask_2d_greedy also keep 2 of each 4 along the outputs, with "
        "the most magnitude that allows, or nearly; a list makes a branch of the workflow of each; "
        "the models of mask_1d are called pruned and sparse, the others pruned/<algorithm> and "
        "sparse/<algorithm>",
        schema={
            "oneOf": [
                _ALGORITHM,
                {"type": "array", "minItems": 1, "items": _ALGORITHM, "uniqueItems": True},
            ]
        },
    )
    include: list[str] = key(
        ["*"],
        "names of the weights that become sparse, where 2:4 can apply; * ? and [abc] are wildcards",
        minItems=1,
        uniqueItems=True,
    )
    exclude: list[str] = key(
        ["stem.conv.weight", "classifier.weight"],
        "names of the weights that stay dense all the same; * ? and [abc] are wildcards",
        uniqueItems=True,
    )
    permute: bool = key(
        False,
        "first reorder channels so that pruning keeps more magnitude; the dense network's function "
        "stays the same",
    )
    require_learnt: bool = key(
        True, "stop before pruning if the dense network's top-1 is within the noise of chance"
    )
