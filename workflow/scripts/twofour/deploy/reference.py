"""A graph's output for every validation image, stored once for each model.

All deployed forms of the model are compared with it (:mod:`.evaluate`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic, read_arrays


def write(path: PathLike, probabilities: np.ndarray, content: str) -> None:
    """Write them as ``.npz``, with the ``content`` hash of the dataset that they belong to."""
    with atomic(path, probabilities.nbytes) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=probabilities, dataset=np.array(content))


def read(path: PathLike, content: str) -> np.ndarray:
    """Read what :func:`write` wrote; TwoFourError if it is damaged or of another dataset."""
    arrays = read_arrays(path, "probabilities", "dataset")
    if str(arrays["dataset"]) != content:
        raise TwoFourError(f"{Path(path)} belongs to other images; create it again")
    probabilities: np.ndarray = arrays["probabilities"]
    return probabilities
