"""ONNX Runtime: what most people deploy on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...artifacts import ONNX
from ...system.errors import TwoFourError
from ...system.hardware import Machine
from ..profiles import Profile
from .interface import DENSE_NOTE, About, Predictor

ABOUT = About(
    precisions={"cpu": ("fp32",)},
    summary="CPU",
    reads=(ONNX,),
    packages=("onnxruntime",),
    note=DENSE_NOTE,
)


def require(precision: str) -> None:
    """Nothing is needed beyond ONNX Runtime itself."""


def identity(machine: Machine) -> dict:
    """Nothing is built, so nothing depends on the machine."""
    return {}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """Nothing to build: the ONNX file is loaded as it is. Loads it once to check that."""
    import onnxruntime

    load(model, out, precision, machine)
    return {"version": onnxruntime.__version__, "files": [str(model / ONNX)]}


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the ONNX file in the folder ``model``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(model / ONNX), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # it raises a dozen types of its own
        raise TwoFourError(f"onnxruntime cannot load {model / ONNX}: {error}") from error
    name = session.get_inputs()[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images})[0]

    return predict
