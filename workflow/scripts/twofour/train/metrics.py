"""Exact evaluation: every image counted once, and only once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..system.errors import TwoFourError


def correct(probabilities: np.ndarray, labels: np.ndarray, k: int) -> int:
    """How many of ``labels`` [n] are among the ``k`` most probable of their row [n, classes].

    Of equally probable classes the one with the lower number comes first, so that the count does
    not depend on how a backend sorts.
    """
    truth = probabilities[np.arange(len(labels)), labels][:, None]
    classes = np.arange(probabilities.shape[1])
    ahead = (probabilities > truth) | ((probabilities == truth) & (classes < labels[:, None]))
    # A probability that is NaN must not count as a hit.
    return int(np.sum((ahead.sum(axis=1) < k) & ~np.isnan(truth[:, 0])))


class Tally:
    """Top-1, top-5 and mean cross-entropy over a list of ``labels``, batch by batch."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels
        self._seen = np.zeros(len(labels), dtype=np.int64)
        self._top1 = self._top5 = 0
        self._loss = 0.0

    def add(self, probabilities: np.ndarray, positions: np.ndarray) -> None:
        """Count a batch: class probabilities [n, classes] of the images at ``positions`` [n]."""
        labels = self._labels[positions]
        np.add.at(self._seen, positions, 1)
        self._top1 += correct(probabilities, labels, 1)
        self._top5 += correct(probabilities, labels, 5)
        chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        self._loss -= float(np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).sum())

    def reduce(self, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Add what other processes counted; ``total`` sums an array over all of them."""
        self._seen = total(self._seen)
        self._top1, self._top5 = total(np.asarray([self._top1, self._top5])).tolist()
        (self._loss,) = total(np.asarray([self._loss])).tolist()

    def result(self) -> dict:
        """top1 and top5 in percent, images, loss (nats); TwoFourError unless each counted once."""
        wrong = np.flatnonzero(self._seen != 1)
        if wrong.size:
            raise TwoFourError(
                f"evaluation is not exact: {wrong.size} of {len(self._labels)} validation images "
                f"were not counted exactly once (position {wrong[0]}: {self._seen[wrong[0]]} times)"
            )
        images = len(self._labels)
        return {
            "top1": 100 * self._top1 / images,
            "top5": 100 * self._top5 / images,
            "images": images,
            "loss": self._loss / images,
        }


def chance_top1(labels: np.ndarray) -> float:
    """Top-1 (%) up to which a network need not have learnt anything, for these labels.

    That is what naming the most frequent class would give, plus two standard deviations of its
    share among as many random draws.
    """
    share = np.bincount(labels).max() / len(labels)
    return float(100 * min(1.0, share + 2 * np.sqrt(share * (1 - share) / len(labels))))


def require_learnt(summary: dict, path: str) -> None:
    """Raise TwoFourError if a training's summary, read from ``path``, is no better than chance."""
    if summary["top1"] <= summary["chance_top1"]:
        what, remedy = "the dense network did not learn", "change the training"
        if given := summary.get("given"):
            what = f"the network in {given['file']} does not know these images"
            remedy = (
                "see whether its classes are in another order and whether data.mean, data.std, "
                "data.image_size and data.resize are those that it was trained with"
            )
        raise TwoFourError(
            f"{what}: top-1 is {summary['top1']:.2f} % ({path}), and up to "
            f"{summary['chance_top1']:.2f} % may be chance with these "
            f"{summary['val_images']} validation images; {remedy}, or set "
            "sparsity.require_learnt to false to prune it anyway"
        )
