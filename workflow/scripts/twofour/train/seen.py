"""Which images weights have been trained on.

Each training leaves a record of them beside its weights. A later one that starts from these weights
can then tell how many of its validation images are no test of what it has learnt.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..artifacts import SEEN
from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import atomic


def by(weights: str | None) -> np.ndarray:
    """Digests [n] of the images that the weights in this file have been trained on.

    Empty where there is no record: of weights that are not ours, or None.
    """
    nothing = np.empty(0, dtype="V16")
    if weights is None:
        return nothing
    path = Path(weights).parent / SEEN
    if not path.is_file():
        return nothing
    try:
        return np.load(path, allow_pickle=False).view("V16").ravel()
    except (OSError, ValueError, EOFError) as error:
        raise TwoFourError(f"cannot read {path}, the record of the images of train.init") from error


def count(validation: np.ndarray, seen: np.ndarray) -> int:
    """How many of the ``validation`` images, digests [n], are among those ``seen`` [m]."""
    return int(np.isin(validation, seen).sum())


def warn(number: int, total: int, weights: str) -> None:
    """Say that this ``number`` of the ``total`` validation images is known to ``weights``."""
    if number:
        log.warning(
            "warning: %d of the %d validation images were training images of %s (train.init), so "
            "the accuracy will be too high; validate on the images that it was validated on",
            number,
            total,
            weights,
        )


def write(folder: Path, training: np.ndarray, before: np.ndarray) -> None:
    """Leave the record in ``folder``: the ``training`` images and those seen ``before``."""
    every = np.unique(np.concatenate([training, before]))
    with atomic(folder / SEEN) as temporary, temporary.open("wb") as file:
        np.save(file, every.view(np.uint8).reshape(len(every), 16))
