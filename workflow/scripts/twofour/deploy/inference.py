"""A graph's output for all images of a list."""

from __future__ import annotations

import numpy as np

from ..data.loader import Loader
from ..system import progress
from .backends import Predictor


def infer(network: Predictor, loader: Loader, classes: int) -> np.ndarray:
    """Probabilities [images, classes] float32 of all images of ``loader``, in their order."""
    result = np.full((loader.images, classes), np.nan, np.float32)
    with progress.bar(loader.steps, "reference", "batch") as bar:
        for batch, positions in loader.epoch():
            result[positions] = network(batch)
            bar.update()
    return result
