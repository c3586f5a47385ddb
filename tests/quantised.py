"""Exported networks with random weights, calibrated and quantised, for tests in one process."""

from __future__ import annotations

from pathlib import Path

from twofour.artifacts import CALIBRATION, ONNX, QUANTIZED
from twofour.network import architecture, pieces
from twofour.network.settings import Model
from twofour.quantization import calibration, fold, forms, onnx_graph
from twofour.sparse import prune
from twofour.system import files

import numpy as np
import onnx

SIZE = 32


def export(
    folder: Path, name: str = "resnet50", width: float = 0.25, blocks=None, biased: bool = True
) -> Path:
    """A 2:4 sparse network with weights as after a training, and its calibration, in ``folder``.

    One that is not ``biased`` has biases of zeros once its batch norms are folded.
    """
    from twofour.deploy import export as exporting

    network, weights = _network(name, width, blocks, biased)
    exporting.export(network, weights, SIZE, folder)
    return _quantised(folder)


def write(folder: Path, name: str = "resnet50", width: float = 0.25, blocks=None) -> Path:
    """As :func:`export`, but the ONNX files alone, without PaddlePaddle."""
    network, weights = _network(name, width, blocks)
    onnx.save(pieces.whole(network, weights, SIZE), str(folder / ONNX))
    return _quantised(folder)


def _network(name: str, width: float, blocks, biased: bool = True):
    network = architecture.resnet(Model(name=name, width=width, blocks=blocks), 4)
    weights, _ = prune.prune(state(network, biased), sparse_layers(network), "mask_1d")
    return network, weights


def _quantised(folder: Path) -> Path:
    limits, layers = calibration.calibrate(folder, lambda: [images(16)], "minmax", 100, 1)
    hash_ = files.sha256(folder / ONNX)
    calibration.write(
        folder / CALIBRATION, calibration.Calibration(limits, "minmax", 16, "x", hash_, layers)
    )
    onnx_graph.write(folder / QUANTIZED, quantise(folder))
    return folder


def state(network: architecture.Architecture, biased: bool = True) -> dict[str, np.ndarray]:
    """Weights and statistics as after a training."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in network.state.items():
        part = name.rpartition(".")[2]
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        found[name] = {
            "weight": lambda s=shape, f=fan_in: rng.standard_normal(s) * np.sqrt(2 / f),
            "bias": lambda s=shape: rng.standard_normal(s) * 0.1,
            "mean": lambda s=shape: rng.standard_normal(s) * 0.1,
            "variance": lambda s=shape: np.abs(rng.standard_normal(s)) * 0.3 + 0.8,
        }[part]().astype("float32")
        if not biased and part in ("bias", "mean"):
            found[name][:] = 0
        if part == "weight" and len(shape) == 1:  # of a batch norm; some are negative
            found[name] = (1 + 0.3 * rng.standard_normal(shape)).astype("float32")
    found["classifier.weight"] *= np.float32(0.1)  # probabilities that are not all 0 or 1
    return found


def sparse_layers(network) -> list[str]:
    """What is made 2:4 sparse: everything but the stem and the classifier."""
    return [n for n in network.weights if n not in ("stem.conv.weight", "classifier.weight")]


def quantise(folder: Path, exclude=()):
    """The graph that model.int8.onnx holds."""
    graph = fold.fold(onnx_graph.load(folder / ONNX))
    return forms.for_tensorrt(graph, calibration.read(folder).limits, exclude)


def images(count: int, seed: int = 1) -> np.ndarray:
    """Normalised images of noise with some structure: [count, 3, 32, 32]."""
    rng = np.random.default_rng(seed)
    small = rng.standard_normal((count, 3, 8, 8)).astype("float32")
    return np.kron(small, np.ones((1, 1, 4, 4), "float32"))
