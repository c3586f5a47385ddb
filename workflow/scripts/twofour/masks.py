"""Pruning masks on disk: which weights of each sparse layer are kept."""

from __future__ import annotations

import zipfile

import numpy as np

from .errors import TwoFourError
from .files import PathLike, atomic


def save(path: PathLike, masks: dict[str, np.ndarray]) -> None:
    """Write {weight name: bool array of the weight's shape} as ``.npz``, atomically."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{name: masks[name].astype(bool) for name in sorted(masks)})


def load(path: PathLike) -> dict[str, np.ndarray]:
    """Read what :func:`save` wrote; TwoFourError if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TwoFourError(f"cannot read masks {path}: {error}") from error
