"""Accuracy of a deployed model over the whole validation list, each image counted once."""

from __future__ import annotations

import numpy as np

from ..data.loader import Loader
from ..system import progress
from ..system.errors import TwoFourError
from ..train.metrics import Tally
from . import predicted
from .backends import Predictor
from .predicted import Predictions


def evaluate(
    predict: Predictor, loader: Loader, labels: np.ndarray, reference: np.ndarray
) -> tuple[dict, Predictions]:
    """Accuracy of ``predict`` on the images of ``loader``, and agreement with the training graph.

    ``reference`` is the latter's output, [images, classes], in the order of ``labels`` [images].
    Also returns what was predicted for each image.
    """
    deployed, graph = Tally(labels), Tally(labels)
    found = predicted.empty(len(labels), reference.shape[1])
    largest, equal = 0.0, 0
    with progress.bar(loader.steps, "evaluating", "batch") as bar:
        for batch, positions in loader.epoch():
            ours, theirs = predict(batch), reference[positions]
            deployed.add(ours, positions)
            found.put(positions, ours)
            graph.add(theirs, positions)
            largest = max(largest, float(np.abs(ours - theirs).max()))
            equal += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
            bar.update()
    result = {
        **deployed.result(),
        "training_graph": graph.result(),
        "agreement": {"largest_difference": largest, "equal_predictions": equal / len(labels)},
    }
    return result, found


def require_agreement(result: dict, what: str, precision: str, tolerance: float) -> None:
    """Raise TwoFourError if the deployed model ``what`` is too far from the training graph."""
    largest = result["agreement"]["largest_difference"]
    if not largest <= tolerance:
        images = result["images"]
        equal = round(result["agreement"]["equal_predictions"] * images)
        raise TwoFourError(
            f"{what} differs from the training graph by {largest:.3g} in a class probability, more "
            f"than evaluation.tolerance.{precision} ({tolerance:g}) allows; {equal} of {images} "
            "predictions are equal"
        )
