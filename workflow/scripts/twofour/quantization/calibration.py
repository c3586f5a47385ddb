"""calibration.json: the ranges of a network's activations, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..artifacts import CALIBRATION, ONNX
from ..network.architecture import input_of, output_of
from ..system.errors import TwoFourError
from ..system.files import PathLike, read_json, sha256, write_json
from . import fold, observe, onnx_graph, placement, ranges
from .onnx_graph import Graph

BATCH = 8  # images at a time: all activations of them are kept, 40 MB for each in ResNet50


@dataclass(frozen=True)
class Calibration:
    """``limits`` {tensor: largest magnitude that is represented} by ``algorithm``.

    Of the ONNX file with the hash ``onnx``, over ``images`` images of the dataset whose content has
    the hash ``dataset``. ``layers`` has those that are rounded in TensorRT's form once more, by the
    names that a training has for them (:mod:`.fake`).
    """

    limits: dict[str, float]
    algorithm: str
    images: int
    dataset: str
    onnx: str
    layers: dict[str, float]


def calibrate(
    model: Path,
    batches: Callable[[], Iterable[np.ndarray]],
    algorithm: str,
    percentile: float,
    threads: int,
    learnt: Mapping[str, float] | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """The limits of all activations that some engine rounds, of the ONNX file in ``model``.

    ``batches()`` yields normalised images [n, C, H, W]; it is called once or twice. Ranges that
    were ``learnt`` in a training stand, whatever the images. Returns limits by activation, and
    those of a training by range.
    """
    graph = fold.fold(onnx_graph.load(model / ONNX))
    run = observe.runner(graph, placement.ends(graph), threads)
    limits = ranges.find(lambda: map(run, batches()), algorithm, percentile)
    for name, limit in limits.items():
        if not np.isfinite(limit):
            raise TwoFourError(f"{name} of {model / ONNX} is not finite; it cannot be quantised")
    names = by_layer(graph)
    if learnt is not None:
        if set(learnt) != set(names):
            raise TwoFourError(f"the ranges that were learnt are not those of {model / ONNX}")
        limits.update({names[name]: limit for name, limit in learnt.items()})
    return limits, {name: limits[tensor] for name, tensor in names.items()}


def by_layer(graph: Graph) -> dict[str, str]:
    """{range's name in a training: activation} of all that TensorRT's form rounds."""
    placed = placement.place(graph)
    made = [add.input[i] for add, i in placed.sides if graph.maker(add.input[i]) == "Conv"]
    names = {output_of(graph.makers[name].name): name for name in made}
    for layer in placed.layers:
        if layer.input[0] not in names.values():  # the first of those that read it names it
            names[input_of(layer.name)] = layer.input[0]
    return names


def write(path: PathLike, found: Calibration) -> None:
    """Write it as JSON."""
    write_json(path, vars(found))


def read(model: Path) -> Calibration:
    """The calibration in the folder ``model``; TwoFourError if it is of another ONNX file."""
    path = model / CALIBRATION
    try:
        found = Calibration(**read_json(path))
        limits = {str(name): float(limit) for name, limit in found.limits.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise TwoFourError(f"{path} is no calibration: {error}; calibrate again") from error
    if found.onnx != sha256(model / ONNX):
        raise TwoFourError(f"{path} was made for another {model / ONNX}; calibrate again")
    return replace(found, limits=limits)
