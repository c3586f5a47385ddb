"""ONNX Runtime: what most people deploy on a CPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...artifacts import CALIBRATION, ONNX, QUANTIZED
from ...quantization import calibration, forms, onnx_graph
from ...system.errors import TwoFourError
from ...system.files import scratch
from ...system.hardware import Machine
from ..profiles import Profile
from . import integers
from .interface import DENSE_NOTE, INT8, About, Predictor, running

CPU = "CPUExecutionProvider"
ABOUT = About(
    precisions={"cpu": ("fp32", INT8)},
    summary="CPU",
    reads=(ONNX,),
    reads_int8=(QUANTIZED, CALIBRATION),
    packages=("onnxruntime",),
    note=DENSE_NOTE,
)


def require(precision: str) -> None:
    """Nothing is needed beyond ONNX Runtime itself, but int8 needs a processor with VNNI."""
    if precision == INT8:
        integers.require("onnxruntime")


def identity(machine: Machine) -> dict:
    """Nothing that is built depends on the machine."""
    return {}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """For fp32 the ONNX file is loaded as it is; this loads it once to check that.

    For int8, the quantised file is written to ``out`` in the form in which ONNX Runtime computes
    with integers, and the graph that it makes of that is looked at.
    """
    import onnxruntime

    facts = {}
    path = _file(model, out, precision)
    if precision == INT8:
        graph = onnx_graph.load(model / QUANTIZED)
        layers = [node.name for node in forms.quantised_convolutions(graph)]
        limits = calibration.read(model).limits
        onnx_graph.write(path, forms.for_onnxruntime(graph, limits))
        facts = integers.proof("onnxruntime", layers, _computed_as_integers(path))
    load(model, out, precision, machine)
    return {"version": onnxruntime.__version__, "files": [str(path)], **facts}


def _file(model: Path, out: Path, precision: str) -> Path:
    return (out if precision == INT8 else model) / ONNX


def _computed_as_integers(path: Path) -> set[str]:
    """The layers that ONNX Runtime computes with integers, by the graph that it makes of a file."""
    import onnx

    with scratch(path.parent) as folder:
        optimised = folder / ONNX
        session(path, 1, optimized_model_filepath=str(optimised))
        nodes = onnx.load(str(optimised)).graph.node
    stored = {name for node in nodes if node.op_type == "QLinearConv" for name in node.input}
    end = f".weight{forms.STORED}"
    return {name.removesuffix(end) for name in stored if name.endswith(end)}


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the ONNX file in the folder ``model``, or for the one that was built."""
    return predictor(session(_file(model, out, precision), machine.threads))


def predictor(opened: Any) -> Predictor:
    """A predictor that runs the ``opened`` session."""
    name = opened.get_inputs()[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        with running("onnxruntime", images):
            return opened.run(None, {name: images})[0]

    return predict


def session(path: Path, threads: int, providers: Sequence[Any] = (CPU,), **settings: Any) -> Any:
    """The ONNX file, ready to run by the first of ``providers``; TwoFourError if it cannot.

    ``settings`` are attributes of ONNX Runtime's SessionOptions.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in settings.items():
        setattr(options, name, value)
    given = {"providers": [*providers], "enable_fallback": 0}  # to the CPU, without an error
    try:
        return onnxruntime.InferenceSession(str(path), options, **given)
    except Exception as error:  # it raises a dozen types of its own
        raise TwoFourError(f"onnxruntime cannot load {path}: {error}") from error
