"""The training graph's output for every validation image, stored once for each model.

All deployed forms of a model are compared with it (:mod:`.evaluate`).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..data.loader import Loader
from ..system import progress
from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic
from .backends import Predictor


def infer(network: Predictor, loader: Loader, classes: int) -> np.ndarray:
    """Probabilities [images, classes] float32 of all images of ``loader``, in their order."""
    result = np.full((loader.images, classes), np.nan, np.float32)
    with progress.bar(loader.steps, "reference", "batch") as bar:
        for batch, positions in loader.epoch():
            result[positions] = network(batch)
            bar.update()
    return result


def write(path: PathLike, probabilities: np.ndarray, content: str) -> None:
    """Write them as ``.npz``, with the ``content`` hash of the dataset that they belong to."""
    with atomic(path, probabilities.nbytes) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=probabilities, dataset=np.array(content))


def read(path: PathLike, content: str) -> np.ndarray:
    """Read what :func:`write` wrote; TwoFourError if it is damaged or of another dataset."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            probabilities, dataset = archive["probabilities"], str(archive["dataset"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TwoFourError(f"cannot read {Path(path)}: {error}") from error
    if dataset != content:
        raise TwoFourError(f"{Path(path)} belongs to other images; create it again")
    return probabilities
