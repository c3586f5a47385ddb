"""calibration.json: the ranges of a network's activations, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..artifacts import CALIBRATION, ONNX
from ..data.lists import Split
from ..system.errors import TwoFourError
from ..system.files import PathLike, read_json, sha256, write_json
from . import fold, observe, onnx_graph, placement, ranges

BATCH = 8  # images at a time: all activations of them are kept, 40 MB for each in ResNet50
_SEED = 20170508  # the same list gives the same images; what they are does not matter much


@dataclass(frozen=True)
class Calibration:
    """``limits`` {tensor: largest magnitude that is represented} by ``algorithm``.

    Of the ONNX file with the hash ``onnx``, over ``images`` images of the dataset whose content has
    the hash ``dataset``.
    """

    limits: dict[str, float]
    algorithm: str
    images: int
    dataset: str
    onnx: str


def sample(images: Split, count: int) -> Split:
    """``count`` of the images, drawn at random but always the same ones, in the list's order."""
    drawn = np.random.default_rng(_SEED).permutation(len(images.paths))[:count]
    chosen = np.sort(drawn)
    paths = [images.paths[i] for i in chosen]
    return Split(paths, images.labels[chosen], images.orientations[chosen])


def calibrate(
    model: Path,
    batches: Callable[[], Iterable[np.ndarray]],
    algorithm: str,
    percentile: float,
    threads: int,
) -> dict[str, float]:
    """The limits of all activations that some engine rounds, of the ONNX file in ``model``.

    ``batches()`` yields normalised images [n, C, H, W]; it is called once or twice.
    """
    graph = fold.fold(onnx_graph.load(model / ONNX))
    run = observe.runner(graph, placement.ends(graph), threads)
    limits = ranges.find(lambda: map(run, batches()), algorithm, percentile)
    for name, limit in limits.items():
        if not np.isfinite(limit):
            raise TwoFourError(f"{name} of {model / ONNX} is not finite; it cannot be quantised")
    return limits


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
