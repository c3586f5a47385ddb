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


def initial(path: PathLike, names: Iterable[str], network: Architecture) -> dict[str, np.ndarray]:
    """What a training loads from the file ``path``: all of ``names`` for this network.

    The file may be ours or another library's (:mod:`.foreign`). A stem for 3 channels gets a fourth
    of zeros where the network has one, and the other way round, which changes nothing, since the
    fourth channel of the images is 0. A classifier for another number of classes is left out, so
    that it is reinitialised. Raises TwoFourError if anything else is missing or of another shape.
    """
    arrays = named(path, network)
    found = {name: np.asarray(arrays[name], np.float32) for name in names if name in arrays}
    stem = found.get(network.stem.weight)
    if stem is not None and stem.ndim == 4:
        found[network.stem.weight] = _with_channels(stem, network.input_channels)
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


def foreign_network(path: PathLike, model: Model) -> tuple[dict[str, np.ndarray], Architecture]:
    """All weights and statistics in a file of any library, under our names, and their network.

    The number of classes is that of the file's classifier. Raises TwoFourError if anything is
    missing or of another shape.
    """
    plain = architecture.resnet(model, 2)
    classifier = named(path, plain).get(CLASSIFIER)
    if classifier is None or classifier.ndim != 2:
        raise TwoFourError(f"{path} has no classifier")
    network = architecture.resnet(model, classifier.shape[-1])
    names = [*network.weights, CLASSIFIER_BIAS]
    names += [f"{conv.norm}.{part}" for conv in network.convs for part in foreign.NORM_PARTS]
    state = initial(path, names, network)
    require(state, names, path)
    return state, network


def named(path: PathLike, network: Architecture) -> dict[str, np.ndarray]:
    """The arrays of a file for ``network`` under our names, whichever library wrote it."""
    file = formats.read(path)
    arrays = foreign.bare(file.arrays)
    scheme = foreign.recognise(arrays, path)
    if scheme is None:
        return arrays
    foreign.require_v1_5(path)
    log.info("%s holds a ResNet of %s (%s)", path, scheme.library, file.format)
    return foreign.translate(scheme, arrays, network, path)


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
