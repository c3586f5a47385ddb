"""Mixup and CutMix: a batch is mixed with itself in reverse order, by a mask over its pixels.

Mixup: H. Zhang et al., ICLR 2018, eq. 1. CutMix: S. Yun et al., ICCV 2019, eqs. 1 and 2. The
masks follow from the seed, the update and the batch alone, so that a resumed training draws the
same.
"""

from __future__ import annotations

import math

import numpy as np

from .settings import Train


def mixes(train: Train) -> bool:
    """Whether the section ``train`` asks for either."""
    return train.mixup > 0 or train.cutmix > 0


def mask(train: Train, size: int, seed: int, update: int, shard: int) -> np.ndarray:
    """Share [size, size] float32 of each pixel that an image keeps; the rest is of its partner's.

    For batch ``shard`` of ``update`` (from 0). The share of its own label is the mask's mean.
    """
    rng = np.random.default_rng([seed, update, shard])
    cut = train.cutmix > 0 and (train.mixup == 0 or rng.random() < 0.5)
    alpha = train.cutmix if cut else train.mixup
    share = rng.beta(alpha, alpha)
    if not cut:
        return np.full((size, size), share, np.float32)
    kept = np.ones((size, size), np.float32)
    side = size * math.sqrt(1 - share)
    centre = rng.random(2) * size
    low, high = (np.clip(np.rint(centre + s * side / 2), 0, size).astype(int) for s in (-1, 1))
    kept[low[0] : high[0], low[1] : high[1]] = 0
    return kept
