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
    method: str = key(
        "ptq",
        "ptq rounds the trained networks as they are; qat also trains twins of the dense and the "
        "sparse network that learn to be rounded (quantisation-aware training), which networks "
        "need that lose much by rounding (it takes two more trainings of quantization.qat_epochs)",
        schema={"enum": ["ptq", "qat"]},
    )
    qat_epochs: int = key(
        10,
        "passes over the training images, for each quantisation-aware training",
        minimum=1,
        maximum=10000,
    )
    qat_learning_rate: float = key(
        0.001,
        "its peak learning rate per 256 images of a step, from which it falls to 0 by a cosine",
        exclusiveMinimum=0,
        maximum=100,
    )
    qat_ranges: str = key(
        "frozen",
        "in that training the ranges of the activations are frozen at those of the calibration, or "
        "follow a moving average of the largest magnitudes",
        schema={"enum": ["frozen", "average"]},
    )
    exclude: list[str] = key(
        [],
        "names of the weights whose layers stay in floating point; * ? and [abc] are wildcards",
        uniqueItems=True,
    )
