"""The section ``quantization`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..system.sections import Section, key
from .ranges import ALGORITHMS


@dataclass(frozen=True, repr=False)
class Quantization(Section):
    """How networks become 8-bit ones, where deploy.precisions has int8."""

    images: int = key(
        512,
        "images of the training list, drawn at random, from which the ranges of the activations "
        "are taken (all, if there are fewer)",
        minimum=1,
        maximum=1000000,
    )
    algorithm: str = key(
        "minmax",
        "how a range follows from the values: minmax takes the largest magnitude; percentile the "
        "one that quantization.percentile of them do not exceed; mse and entropy search for the "
        "limit with the least squared error, and with the least Kullback-Leibler divergence",
        schema={"enum": list(ALGORITHMS)},
    )
    percentile: float = key(
        99.99,
        "percent of the values that are within the range, for the algorithm percentile",
        minimum=50,
        maximum=100,
    )
    exclude: list[str] = key(
        [],
        "names of the weights whose layers stay in floating point; * ? and [abc] are wildcards",
        uniqueItems=True,
    )
