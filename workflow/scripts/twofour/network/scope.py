"""Weights in PaddlePaddle's scopes, as named NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import paddle

from ..system.errors import TwoFourError


def read(names: Iterable[str], scope=None) -> dict[str, np.ndarray]:
    """Copies of the variables ``names`` in ``scope``, or in PaddlePaddle's global one."""
    scope = scope or paddle.static.global_scope()
    return {name: np.array(scope.find_var(name).get_tensor()) for name in names}


def write(arrays: Mapping[str, np.ndarray], place, scope=None) -> None:
    """Write ``arrays`` to the existing variables of the same names and shapes.

    They are in ``scope``, or in the global one. For fp16 variables, fp32 arrays are rounded.
    Raises TwoFourError for a name that the network lacks or a shape that differs.
    """
    scope = scope or paddle.static.global_scope()
    for name, array in arrays.items():
        variable = scope.find_var(name)
        if variable is None:
            raise TwoFourError(f"the weights hold {name}, which this network does not have")
        tensor = variable.get_tensor()
        if tuple(tensor.shape()) != array.shape:
            raise TwoFourError(
                f"the weights hold {name} with shape {array.shape}, but this network's has "
                f"{tuple(tensor.shape())}; they come from another model configuration"
            )
        half = tensor._dtype() == paddle.float16
        tensor.set(array.astype(np.float16) if half else array, place)
