"""OpenVINO: Intel's inference library, on most CPUs the fastest for convolutional networks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...artifacts import ONNX, QUANTIZED
from ...quantization import forms, onnx_graph
from ...system.errors import TwoFourError
from ...system.hardware import Machine, cpu_name
from ..profiles import Profile
from . import integers
from .interface import DENSE_NOTE, INT8, About, Predictor, running

ABOUT = About(
    precisions={"cpu": ("fp32", "bf16", INT8)},
    summary="CPU",
    reads=(ONNX,),
    reads_int8=(QUANTIZED,),
    packages=("openvino",),
    precision_note=" (the last two on processors that compute in them)",
    note=DENSE_NOTE,
)
# In what floating-point layers compute.
_HINTS = {"fp32": "f32", "bf16": "bf16", INT8: "f32"}


def require(precision: str) -> None:
    """Nothing is needed beyond OpenVINO itself, but a processor that computes in the precision.

    Without one, OpenVINO would silently use fp32 instead of bf16, and inexact integers.
    """
    if precision == INT8:
        integers.require("openvino", capped=True)
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
    """Nothing to build: the ONNX file is loaded as it is. Loads it once to check that.

    For int8 it is compiled as well, to see what OpenVINO makes of it.
    """
    import openvino

    facts = {}
    path = _file(model, precision)
    if precision == INT8:
        graph = onnx_graph.load(path)
        layers = [node.name for node in forms.quantised_convolutions(graph)]
        shape = [1, *graph.image_shape]
        compiled = _compile(_network(path), shape, precision, machine)
        facts = integers.proof("openvino", layers, _computed_as_integers(compiled))
    load(model, out, precision, machine)
    return {"version": openvino.__version__, "files": [str(path)], **facts}


def _file(model: Path, precision: str) -> Path:
    return model / (QUANTIZED if precision == INT8 else ONNX)


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the ONNX file in the folder ``model``.

    It is compiled again whenever the batch size changes, which is faster than one model for all
    sizes; only the last one is kept.
    """
    network = _network(_file(model, precision))
    compiled: dict[int, Any] = {}  # by batch size

    def predict(images: np.ndarray) -> np.ndarray:
        with running("openvino", images):
            if len(images) not in compiled:
                compiled.clear()
                compiled[len(images)] = _compile(network, images.shape, precision, machine)
            (request,) = compiled.values()
            return request(np.ascontiguousarray(images, np.float32))[0]

    return predict


def _network(path: Path) -> Any:
    import openvino

    try:
        return openvino.Core().read_model(str(path))
    except Exception as error:  # it raises RuntimeError for everything
        raise TwoFourError(f"openvino cannot load {path}: {error}") from error


def _compile(network: Any, shape: Iterable[int], precision: str, machine: Machine) -> Any:
    import openvino

    network.reshape(list(shape))
    settings = {
        # Otherwise processors with bf16 compute in it, and the figures would not be fp32's.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": machine.threads,
        "NUM_STREAMS": 1,
        # Otherwise parallel jobs would all be pinned to the machine's first cores.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino.Core().compile_model(network, "CPU", settings)
    _require_hint(compiled, precision)
    return compiled


def _computed_as_integers(compiled: Any) -> set[str]:
    """The layers that a compiled network computes with integers, by its own account."""
    found: set[str] = set()
    for operator in compiled.get_runtime_model().get_ops():
        facts = operator.get_rt_info()
        kind, precision, names = (
            facts[name].astype(str)
            for name in ("layerType", "runtimePrecision", "originalLayersNames")
        )
        if kind == "Convolution" and precision in ("i8", "u8"):
            # A convolution that was taken apart is called "stem.conv/WithoutBiases", and its parts
            # may be gone: a bias of zeros is.
            found.update(name.partition("/")[0] for name in names.split(","))
    return found


def _require_hint(compiled, precision: str) -> None:
    """Raise TwoFourError unless ``compiled`` computes in the precision that was asked for."""
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != _HINTS[precision]:
        raise TwoFourError(f"openvino was asked for {precision}, but computes in {used}")
