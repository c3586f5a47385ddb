"""The published training recipe's schedules as formulas.

Source: NVIDIA Deep Learning Examples, ResNet50 v1.5 for PaddlePaddle (docs/recipe.md lists every
setting). Linear scaling and warm-up: P. Goyal et al., arXiv 1706.02677, sections 2.1 and 2.2.
Cosine: I. Loshchilov, F. Hutter, arXiv 1608.03983, eq. 5 without restarts.
"""

from __future__ import annotations

import math

from ..data.settings import Data
from .settings import Train

REFERENCE_BATCH = 256  # the batch size that train.learning_rate refers to


def peak_learning_rate(train: Train, shards: int = 1) -> float:
    """The peak learning rate for the config's section ``train``, scaled to the images of a step.

    A step takes ``shards`` batches: one of each process, times the accumulated ones.
    """
    return train.learning_rate * train.batch_size * shards / REFERENCE_BATCH


def learning_rate(step: int, steps_per_epoch: int, train: Train, shards: int = 1) -> float:
    """Learning rate of update ``step`` (from 0): linear from 0 to the peak, then cosine to 0."""
    peak = peak_learning_rate(train, shards)
    warmup = train.warmup_epochs * steps_per_epoch
    total = train.epochs * steps_per_epoch
    if step < warmup:
        return peak * step / warmup
    if step >= total:
        return 0.0
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def ema_decay(step: int, decay: float) -> float:
    """The decay of the weights' moving average at update ``step`` (from 0): smaller at first.

    min(decay, (1 + step) / (10 + step)), as TensorFlow's ExponentialMovingAverage has it, so that
    the random weights of the start are soon forgotten.
    """
    return min(decay, (1 + step) / (10 + step))


def train_size(epoch: int, data: Data) -> int:
    """Height and width (pixels) of the training crops in ``epoch`` (from 0), for the section data.

    Progressive resizing: J. Howard in DAWNBench, 2018; training below the size of the evaluation:
    H. Touvron et al., "Fixing the train-test resolution discrepancy", arXiv 1906.06423.
    """
    sizes = data.train_size
    if sizes is None:
        return data.image_size
    if isinstance(sizes, int):
        return sizes
    return [size for first, size in sizes if first <= epoch + 1][-1]
