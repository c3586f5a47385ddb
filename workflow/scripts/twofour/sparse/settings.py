"""The section ``sparsity`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..system.sections import Section, key
from .masks import ALGORITHMS

_ALGORITHM = {"enum": list(ALGORITHMS)}


@dataclass(frozen=True, repr=False)
class Choose(Section):
    """Which of the layers that 2:4 can apply to stay dense, for the sake of accuracy."""

    max_top1_drop: float | None = key(
        None,
        "most points of top-1 that pruning may cost before retraining, on images of the training "
        "list; the layers that lose most for what they gain stay dense until it holds; null prunes "
        "all; retraining regains most of such a drop",
        minimum=0,
        maximum=100,
    )


@dataclass(frozen=True, repr=False)
class Sparsity(Section):
    """Which weights become 2:4 sparse, and how those to keep are chosen."""

    algorithm: str | list[str] = key(
        "mask_1d",
        "how the weights to keep are chosen: mask_1d keeps the 2 largest of each 4 along the input "
        "channels; mask_2d_best and mask_2d_greedy also keep 2 of each 4 along the outputs, with "
        "the most magnitude that allows, or nearly; wanda keeps the 2 of each 4 along the input "
        "channels with the largest |w| times the norm of the channel on sparsity.images; a list "
        "makes a branch of the workflow of each; the models of mask_1d are called pruned and "
        "sparse, the others pruned/<algorithm> and sparse/<algorithm>",
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
    images: int = key(
        256,
        "images of the training list, drawn at random, for wanda and for the sensitivity of layers "
        "(all, if there are fewer)",
        minimum=8,
        maximum=1000000,
    )
    sensitivity: bool = key(
        False,
        "measure what pruning each layer, block and stage costs without retraining, even if "
        "nothing is chosen by it",
    )
    choose: Choose = field(default_factory=Choose)
