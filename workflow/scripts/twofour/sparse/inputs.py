"""How large what each weight reads is: Euclidean norms of input channels, for masks that use them.

:func:`twofour.network.pieces.input_norms` measures them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic, read_arrays
from .pattern import input_axis


def save(path: PathLike, found: Mapping[str, np.ndarray]) -> None:
    """Write {weight: norms [in]}."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict(found))  # type: ignore[arg-type]


def load(path: PathLike, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read them; TwoFourError unless they are those of weights with these ``shapes``."""
    found: dict[str, np.ndarray] = read_arrays(path)
    for name, shape in shapes.items():
        if name not in found or found[name].shape != (shape[input_axis(shape)],):
            raise TwoFourError(f"{path} is of another network: it does not fit {name}")
    return found
