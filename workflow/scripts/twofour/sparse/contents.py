"""What a model file holds: layers to judge, and stored tensors that could not be judged."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Layer:
    """A weight and the axis of its input channels, along which 2:4 runs.

    ``node`` is the name of the operator that computes with it, "" where it has none of its own.
    """

    name: str
    operator: str
    weight: np.ndarray
    axis: int
    node: str = ""


@dataclass(frozen=True)
class Contents:
    """The layers of a file, and what else of it could be a layer's weight.

    ``unjudged`` are stored tensors that may be weights, with the reason why they were not judged;
    ``others`` those whose use shows that they are none.
    """

    layers: list[Layer]
    unjudged: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


def layer(
    name: str, operator: str, weight: np.ndarray, axis: int, groups: int, node: str = ""
) -> Layer:
    """A layer whose input channels are on ``axis``, computed in so many ``groups``."""
    axis %= weight.ndim
    if axis == 0 and weight.ndim > 2 and groups > 1:  # a transposed convolution in groups
        weight = weight.reshape(groups, -1, *weight.shape[1:])
        axis = 1
    return Layer(name, operator, weight, axis, node)


def looks_like_weight(shape: tuple[int, ...]) -> bool:
    """Whether a tensor could be a weight by its shape: two dimensions that are not 1."""
    return sum(size > 1 for size in shape) >= 2
