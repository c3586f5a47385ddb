"""OpenVINO: Intel's inference library, on most CPUs the fastest for convolutional networks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...artifacts import ONNX
from ...system.errors import TwoFourError
from ...system.hardware import Machine, cpu_name
from ..profiles import Profile
from .interface import DENSE_NOTE, About, Predictor

ABOUT = About(
    precisions={"cpu": ("fp32", "bf16")},
    summary="CPU",
    reads=(ONNX,),
    packages=("openvino",),
    precision_note=" (on processors that compute in it)",
    note=DENSE_NOTE,
)
_HINTS = {"fp32": "f32", "bf16": "bf16"}


def require(precision: str) -> None:
    """Nothing is needed beyond OpenVINO itself, but bf16 needs a processor that computes in it.

    Without one, OpenVINO would silently use fp32 instead.
    """
    if precision != "bf16":
        return
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise TwoFourError(
            f"deploy.precisions lists bf16, but openvino finds no bf16 arithmetic in this "
            f"processor ({cpu_name()}); take it out or run on one with AVX-512 BF16 or AMX"
        )


def identity(machine: Machine) -> dict:
    """Nothing is built, so nothing depends on the machine."""
    return {}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """Nothing to build: the ONNX file is loaded as it is. Loads it once to check that."""
    import openvino

    load(model, out, precision, machine)
    return {"version": openvino.__version__, "files": [str(model / ONNX)]}


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the ONNX file in the folder ``model``.

    It is compiled again whenever the batch size changes, which is faster than one model for all
    sizes; only the last one is kept.
    """
    import openvino

    try:
        core = openvino.Core()
        network = core.read_model(str(model / ONNX))
    except Exception as error:  # it raises RuntimeError for everything
        raise TwoFourError(f"openvino cannot load {model / ONNX}: {error}") from error
    settings = {
        # Otherwise processors with bf16 compute in it, and the figures would not be fp32's.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": machine.threads,
        "NUM_STREAMS": 1,
        # Otherwise parallel jobs would all be pinned to the machine's first cores.
        "ENABLE_CPU_PINNING": False,
    }
    compiled: dict[int, Any] = {}  # by batch size

    def predict(images: np.ndarray) -> np.ndarray:
        if len(images) not in compiled:
            compiled.clear()
            network.reshape(list(images.shape))
            compiled[len(images)] = core.compile_model(network, "CPU", settings)
            _require_hint(compiled[len(images)], precision)
        (request,) = compiled.values()
        return request(np.ascontiguousarray(images, np.float32))[0]

    return predict


def _require_hint(compiled, precision: str) -> None:
    """Raise TwoFourError unless ``compiled`` computes in the precision that was asked for."""
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != _HINTS[precision]:
        raise TwoFourError(f"openvino was asked for {precision}, but computes in {used}")
