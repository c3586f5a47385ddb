"""Which images weights have been trained on.

Each training leaves a record of them beside its weights. A later run that begins with these weights
can then tell how many of its validation images are no test of what they have learnt.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..artifacts import SEEN
from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import atomic

NOTHING = np.empty(0, dtype="V16")
# Stands for images of which nothing is known, in a record that began with weights without one.
UNKNOWN = np.zeros(1, dtype="V16")


def by(weights: str | None) -> np.ndarray | None:
    """Digests [n] of the images that the weights in this file have been trained on.

    None where there is no record beside them: they are not ours, or were copied without it.
    """
    if weights is None:
        return NOTHING
    path = Path(weights).parent / SEEN
    if not path.is_file():
        return None
    try:
        return np.load(path, allow_pickle=False).view("V16").ravel()
    except (OSError, ValueError, EOFError) as error:
        raise TwoFourError(
            f"cannot read {path}, the record of the images that {weights} was trained on"
        ) from error


def count(validation: np.ndarray, seen: np.ndarray | None) -> int | None:
    """How many of the ``validation`` images, digests [n], are among those ``seen`` [m].

    Where the record is not complete, at least that many; None if it tells of none.
    """
    if seen is None:
        return None
    number = int(np.isin(validation, seen).sum())
    return None if number == 0 and np.isin(UNKNOWN, seen).any() else number


def tell(known: int | None, total: int, weights: str | None) -> None:
    """Log how many of the ``total`` validation images are known to a run's first ``weights``."""
    if known is None:
        log.info(
            "no complete record (%s) lies beside %s, so it is not known whether it has been "
            "trained on validation images",
            SEEN,
            weights,
        )
    elif known:
        log.warning("warning: %s", sentence(known, total))


def sentence(known: int, total: int) -> str:
    """What it means that this many of the ``total`` validation images were ``known``."""
    return (
        f"{known} of the {total} validation images were training images of the weights that the "
        "run began with, so the accuracy is too high; validate on the images that those were "
        "validated on"
    )


def write(folder: Path, training: np.ndarray, before: np.ndarray | None) -> None:
    """Leave the record in ``folder``: the ``training`` images and those seen ``before``."""
    every = np.unique(np.concatenate([training, UNKNOWN if before is None else before]))
    with atomic(folder / SEEN) as temporary, temporary.open("wb") as file:
        np.save(file, every.view(np.uint8).reshape(len(every), 16))
