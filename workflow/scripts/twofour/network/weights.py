"""Weights on disk, as named NumPy arrays, and whether they fit a network.

A ``.pdparams`` file is a pickle of {name: array}. PaddlePaddle reads ours with ``paddle.load`` and
``paddle.static.load_program_state``; we read files with an unpickler that can create only
arrays (:mod:`.foreign.formats`), since an ordinary one runs whatever code a file contains.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping

import numpy as np

from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic
from . import architecture
from .architecture import CLASSIFIER, CLASSIFIER_BIAS, Architecture
from .foreign import formats
from .foreign import names as foreign
from .settings import Model


def save(path: PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write {name: array} as ``.pdparams``, atomically; equal arrays give equal bytes."""
    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    needs = sum(array.nbytes for array in ordered.values())
    with atomic(path, needs) as temporary, temporary.open("wb") as file:
        pickle.dump(ordered, file, protocol=2)


def load(path: PathLike) -> dict[str, np.ndarray]:
    """The arrays in a weight file, by name; TwoFourError if it is missing, damaged or no such file.

    Numbers of 16 bits come as float32.
    """
    return formats.read(path).arrays


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


def initial(path: PathLike, network: Architecture) -> dict[str, np.ndarray]:
    """What a training loads from the file ``path``, as :func:`fitting` says; logs what it is."""
    found, source = fitting(path, network, "train.init")
    if CLASSIFIER not in found:
        log.info("train.init: %s is for other classes, so the classifier is reinitialised", path)
    if source:
        log.info("train.init: the weights are those of a ResNet of %s", source)
    return found


def finished(path: PathLike, network: Architecture) -> tuple[dict[str, np.ndarray], str]:
    """The whole state of ``network`` in the file ``path``, and who wrote it ("" if we did).

    As :func:`fitting`, but the classifier must be for the classes of ``network``, too.
    """
    found, source = fitting(path, network, "dense.weights")
    if CLASSIFIER not in found:
        raise TwoFourError(
            f"dense.weights: {path} is no finished network for these {network.classes} classes, "
            "since its classifier is missing or for others; name it in train.init to train it"
        )
    return found, source


def fitting(path: PathLike, network: Architecture, key: str) -> tuple[dict[str, np.ndarray], str]:
    """The state of ``network`` in the file ``path``, and who wrote it ("" if we did).

    ``key`` of the configuration names it.

    The file may be ours or another library's (:mod:`.foreign`). A stem for 3 channels gets a fourth
    of zeros where the network has one, and the other way round, which changes nothing, since the
    fourth channel of the images is 0. A classifier for another number of classes is left out, so
    that it is reinitialised. Raises TwoFourError if anything else is missing or of another shape.
    """
    arrays, source = named(path, network)
    found = {name: np.asarray(arrays[name], np.float32) for name in network.state if name in arrays}
    stem = found.get(network.stem.weight)
    if stem is not None and stem.ndim == 4:
        found[network.stem.weight] = _with_channels(stem, network.input_channels)
    shapes = network.state
    if CLASSIFIER not in found or found[CLASSIFIER].shape != shapes[CLASSIFIER]:
        for name in (CLASSIFIER, CLASSIFIER_BIAS):
            shapes.pop(name)
            found.pop(name, None)
    require_shapes(found, shapes, f"{key}: {path}")
    return found, source


def foreign_network(
    path: PathLike, model: Model
) -> tuple[dict[str, np.ndarray], Architecture, str]:
    """The state in a file of any library under our names, its network, and who wrote it.

    The number of classes is that of the file's classifier. Raises TwoFourError if anything is
    missing or of another shape.
    """
    arrays, source = named(path, architecture.resnet(model, 2))
    classifier = arrays.get(CLASSIFIER)
    if classifier is None or classifier.ndim != 2:
        raise TwoFourError(f"{path} has no classifier")
    network = architecture.resnet(model, classifier.shape[-1])
    require_shapes(arrays, network.state, path)
    state = {name: np.asarray(arrays[name], np.float32) for name in network.state}
    return state, network, source or "TwoFour"


def named(path: PathLike, network: Architecture) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a file for ``network`` under our names, and who wrote them ("" if we did)."""
    file = formats.read(path)
    arrays = foreign.bare(file.arrays)
    scheme = foreign.recognise(arrays, path)
    if scheme is None:
        return arrays, ""
    foreign.require_v1_5(path)
    source = f"{scheme.library} ({file.format})"
    return foreign.translate(scheme, arrays, network, path), source


def _with_channels(stem: np.ndarray, channels: int) -> np.ndarray:
    """A stem's weight [O, I, H, W] for 3 or 4 ``channels``, from one for the other."""
    if (stem.shape[1], channels) == (3, 4):
        return np.concatenate([stem, np.zeros_like(stem[:, :1])], axis=1)
    return stem[:, :3] if (stem.shape[1], channels) == (4, 3) else stem


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
