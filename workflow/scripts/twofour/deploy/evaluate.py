"""Accuracy of a deployed model over the whole validation list, each image counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..data.loader import Loader
from ..system import progress
from ..system.errors import TwoFourError
from ..train.metrics import Tally
from . import predicted
from .backends import INT8, Predictor
from .predicted import Predictions


def evaluate(
    predict: Predictor,
    loader: Loader,
    labels: np.ndarray,
    expected: np.ndarray,
    floating: np.ndarray,
) -> tuple[dict, Predictions]:
    """Accuracy of ``predict`` on the images of ``loader``, and agreement with what is ``expected``.

    That is the output [images, classes] of a graph that computes the same, in the order of
    ``labels`` [images]; ``floating`` is that of the training graph, which is another one where
    the model is quantised. Also returns what was predicted for each image.
    """
    deployed, graph = Tally(labels), Tally(labels)
    found = predicted.empty(len(labels), expected.shape[1])
    largest = np.zeros(len(labels), np.float32)  # difference of any class, for each image
    equal, unchanged = 0, 0
    with progress.bar(loader.steps, "evaluating", "batch") as bar:
        for batch, positions in loader.epoch():
            ours, theirs = predict(batch), expected[positions]
            deployed.add(ours, positions)
            found.put(positions, ours)
            graph.add(floating[positions], positions)
            largest[positions] = np.abs(ours - theirs).max(axis=1)
            first = ours.argmax(axis=1)
            equal += int((first == theirs.argmax(axis=1)).sum())
            unchanged += int((first == floating[positions].argmax(axis=1)).sum())
            bar.update()
    result = {
        **deployed.result(),
        "training_graph": {**graph.result(), "equal_predictions": unchanged / len(labels)},
        "agreement": {
            "largest_difference": float(largest.max()),
            "largest_difference_of_99_percent": float(np.percentile(largest, 99)),
            "equal_predictions": equal / len(labels),
        },
    }
    return result, found


def graph(precision: str) -> str:
    """What a model deployed in ``precision`` must agree with, in words."""
    if precision == INT8:
        return "the quantised network in floating point"
    return "the training graph"


def summary(top1: Mapping[str, Sequence[float]]) -> str:
    """{precision: top-1 of each build, in percent} in words: "98.01 % fp32, 97.73–98.30 % int8"."""

    def span(values: Sequence[float]) -> str:
        return "–".join(dict.fromkeys((f"{min(values):.2f}", f"{max(values):.2f}")))

    return ", ".join(f"{span(values)} % {precision}" for precision, values in top1.items())


def require_agreement(result: dict, what: str, precision: str, tolerance: float) -> None:
    """Raise TwoFourError if the deployed model ``what`` is too far from what it must agree with.

    That is judged by the largest difference of all images, but in int8 by that of 99 % of them:
    where a value lies between two integers, the engine may take the other one.
    """
    agreement, where = result["agreement"], ""
    largest = agreement["largest_difference"]
    if precision == INT8:
        largest, where = agreement["largest_difference_of_99_percent"], " in 1 % of the images"
    if not largest <= tolerance:
        images = result["images"]
        equal = round(result["agreement"]["equal_predictions"] * images)
        raise TwoFourError(
            f"{what} differs from {graph(precision)} by {largest:.3g} in a class probability"
            f"{where}, more than evaluation.tolerance.{precision} ({tolerance:g}) allows; {equal} "
            f"of {images} predictions are equal"
        )
