"""Unbalanced classes: factors on their losses, and epochs in which rare ones come more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..data import lists
from ..data.lists import Split
from ..system import patterns
from ..system.errors import TwoFourError


def factors(
    wanted: str | Mapping[str, float] | None, labels: np.ndarray, classes: Sequence[str]
) -> np.ndarray | None:
    """The factor [classes] float32 on the loss of each class, for train.class_weights.

    ``labels`` [n] are those of the training images. Raises TwoFourError for a class that does not
    exist. None if all are 1.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):  # "auto"
        counts = np.bincount(labels, minlength=len(classes))
        return (len(labels) / len(classes) / np.maximum(counts, 1)).astype(np.float32)
    numbers = lists.numbers(classes)
    found = np.ones(len(classes), np.float32)
    for name, factor in wanted.items():
        if name not in numbers:
            raise TwoFourError(
                f"train.class_weights: there is no class {name!r}"
                f"{patterns.suggestion(name, numbers)}"
            )
        found[numbers[name]] = factor
    return found


def balanced(images: Split, seed: int) -> Split:
    """``images`` with those of rarer classes repeated, until all have as many as the largest.

    Each image comes at least ⌊largest / its class⌋ times; which of them come once more is drawn
    with ``seed``.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(images.labels)
    most = counts.max()
    chosen: list[np.ndarray] = []
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(images.labels == label)
        times, rest = divmod(most, len(members))
        more = rng.choice(members, rest, replace=False)
        chosen.append(np.sort(np.concatenate([np.tile(members, times), more])))
    order = np.concatenate(chosen)
    return Split(
        [images.paths[i] for i in order.tolist()], images.labels[order], images.orientations[order]
    )
