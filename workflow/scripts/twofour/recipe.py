"""The published training recipe's learning rate as a formula.

Source: NVIDIA Deep Learning Examples, ResNet50 v1.5 for PaddlePaddle (docs/recipe.md lists every
setting). Linear scaling and warm-up: P. Goyal et al., arXiv 1706.02677, sections 2.1 and 2.2.
Cosine: I. Loshchilov, F. Hutter, arXiv 1608.03983, eq. 5 without restarts.
"""

from __future__ import annotations

import math

REFERENCE_BATCH = 256  # the batch size that train.learning_rate refers to


def peak_learning_rate(train: dict) -> float:
    """The peak learning rate for the config's section ``train``, scaled to its batch size."""
    return train["learning_rate"] * train["batch_size"] / REFERENCE_BATCH


def learning_rate(step: int, steps_per_epoch: int, train: dict) -> float:
    """Learning rate of update ``step`` (from 0): linear from 0 to the peak, then cosine to 0."""
    peak = peak_learning_rate(train)
    warmup = train["warmup_epochs"] * steps_per_epoch
    total = train["epochs"] * steps_per_epoch
    if step < warmup:
        return peak * step / warmup
    if step >= total:
        return 0.0
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
