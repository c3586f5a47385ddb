"""What a deployed model predicted for each validation image: its most probable classes.

Kept with each evaluation, since only image by image can two models be compared exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic, read_arrays
from .predictions import ranked

TOP = 5


@dataclass(frozen=True)
class Predictions:
    """``labels`` [images, 5] of the most probable classes, and their ``probabilities``.

    In the order of the validation list; fewer columns where there are fewer classes.
    """

    labels: np.ndarray
    probabilities: np.ndarray

    def put(self, positions: np.ndarray, probabilities: np.ndarray) -> None:
        """Fill in those of the images at ``positions`` [n], from probabilities [n, classes]."""
        best = ranked(probabilities, self.labels.shape[1])
        self.labels[positions] = best
        self.probabilities[positions] = np.take_along_axis(probabilities, best, axis=1)


def empty(images: int, classes: int) -> Predictions:
    """Predictions to be filled in."""
    shape = (images, min(TOP, classes))
    return Predictions(np.zeros(shape, np.uint16), np.zeros(shape, np.float32))


def write(path: PathLike, found: Predictions, content: str) -> None:
    """Write them as ``.npz``, with the ``content`` hash of the dataset that they belong to."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            labels=found.labels,
            probabilities=found.probabilities,
            dataset=np.array(content),
        )


def read(path: PathLike, content: str) -> Predictions:
    """Read what :func:`write` wrote; TwoFourError if it is damaged or of another dataset."""
    arrays = read_arrays(path, "labels", "probabilities", "dataset")
    found = Predictions(arrays["labels"], arrays["probabilities"])
    if str(arrays["dataset"]) != content:
        raise TwoFourError(f"{Path(path)} belongs to other images; create it again")
    return found
