"""Weights on disk, as named NumPy arrays, and whether they fit a network.

A ``.pdparams`` file is a pickle of {name: array}. PaddlePaddle reads ours with ``paddle.load`` and
``paddle.static.load_program_state``; we read files with an unpickler that can create only
arrays, since an ordinary one runs whatever code a file contains.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic
from . import architecture
from .architecture import CLASSIFIER, CLASSIFIER_BIAS, Architecture
from .settings import Model

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocol 2 writes bytes
    ("collections", "OrderedDict"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)


def save(path: PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write {name: array} as ``.pdparams``, atomically; equal arrays give equal bytes."""
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    needs = sum(array.nbytes for array in ordered.values())
    with atomic(path, needs) as temporary, temporary.open("wb") as file:
        pickle.dump(ordered, file, protocol=2)


def load(path: PathLike) -> dict[str, np.ndarray]:
    """Read a ``.pdparams`` file; TwoFourError if it is missing, damaged or holds anything else."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TwoFourError(f"cannot read weights {path}: {error.strerror or error}") from error
    try:
        value = _ArraysOnly(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise TwoFourError(f"{path} is not a usable weights file: {error}") from error
    if not isinstance(value, dict):
        raise TwoFourError(f"{path} is not a weights file: it holds a {type(value).__name__}")
    return dict(_arrays(value, ""))


def _arrays(value, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) of all arrays in ``value``, whose mappings and lists may be nested.

    PaddlePaddle writes a single tensor as (its own name, array), and adds entries that are not
    arrays, such as a table of names.
    """
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _arrays(child, f"{name}.{key}" if name else str(key))
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        yield from _arrays(value[1], name)
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _arrays(child, f"{name}.{index}" if name else str(index))


def require(arrays: Mapping[str, np.ndarray], names: Iterable[str], path: PathLike) -> None:
    """Raise TwoFourError unless ``arrays``, read from ``path``, hold all of ``names``."""
    for name in names:
        if name not in arrays:
            raise TwoFourError(f"{path} lacks the weights {name}; it belongs to another network")


def require_shapes(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], path: PathLike
) -> None:
    """Raise TwoFourError unless ``arrays``, read from ``path``, have all ``shapes``, by name."""
    require(arrays, shapes, path)
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise TwoFourError(
                f"{path} holds {name} with shape {arrays[name].shape}, but the network of the "
                f"configuration has {shape}"
            )


def initial(path: PathLike, names: Iterable[str], network: Architecture) -> dict[str, np.ndarray]:
    """What a training loads from the file ``path``: all of ``names`` for this network.

    A classifier for another number of classes is left out, so that it is reinitialised. Raises
    TwoFourError if anything else is missing or of another shape.
    """
    arrays = load(path)
    found = {name: np.asarray(arrays[name], np.float32) for name in names if name in arrays}
    shapes = {**network.weights}
    for conv in network.convs:
        shapes.update({name: (conv.outputs,) for name in names if name.startswith(f"{conv.norm}.")})
    if CLASSIFIER in found and found[CLASSIFIER].shape == shapes[CLASSIFIER]:
        shapes[CLASSIFIER_BIAS] = (network.classes,)
    else:
        log.info("train.init: %s is for other classes, so the classifier is reinitialised", path)
        shapes.pop(CLASSIFIER)
        found = {n: a for n, a in found.items() if not n.startswith("classifier.")}
    require_shapes(found, shapes, f"train.init: {path}")
    return found


def load_network(path: PathLike, model: Model) -> tuple[dict[str, np.ndarray], Architecture]:
    """The weights in the file ``path``, and the network of the configuration that they are for.

    The number of classes is that of the file's classifier. Raises TwoFourError if a convolution or
    linear weight is missing or of another shape.
    """
    state = load(path)
    require(state, [CLASSIFIER], path)
    network = architecture.resnet(model, state[CLASSIFIER].shape[-1])
    require_shapes(state, network.weights, path)
    return state, network
