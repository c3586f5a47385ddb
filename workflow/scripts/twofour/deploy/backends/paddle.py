"""Paddle Inference: the framework's own engine, with oneDNN on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...artifacts import CALIBRATION, PADDLE_MODEL, PADDLE_WEIGHTS, QUANTIZED
from ...quantization import calibration, onnx_graph
from ...system.errors import TwoFourError, telling
from ...system.files import scratch
from ...system.hardware import Machine, paddle_version
from ...system.libraries import import_paddle
from ...system.quiet import hidden_stderr
from ..profiles import Profile
from . import integers
from .interface import DENSE_NOTE, INT8, About, Predictor, running

ABOUT = About(
    precisions={"cpu": ("fp32", INT8), "gpu": ("fp32",)},
    summary="CPU or GPU",
    reads=(PADDLE_MODEL, PADDLE_WEIGHTS),
    reads_int8=(PADDLE_MODEL, PADDLE_WEIGHTS, QUANTIZED, CALIBRATION),
    packages=("paddlepaddle",),
    precision_note=" (on CPUs)",
    note=DENSE_NOTE,
)
GPU_MEMORY_MB = 256  # first allocation; it grows as needed
# What becomes integers. By default more does, and max pooling then crashes.
_INTEGERS = {"conv2d", "fused_conv2d"}


def require(precision: str) -> None:
    """Nothing is needed beyond PaddlePaddle itself, and for int8 VNNI."""
    if precision == INT8:
        integers.require("paddle", capped=True)


def identity(machine: Machine) -> dict:
    """Nothing that is built depends on the machine."""
    return {}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """For fp32 there is nothing to build: the exported model is loaded as it is.

    For int8 the exported model with the quantised file's scales is written to ``out``, and the
    program that Paddle Inference makes of it is looked at.
    """
    facts = {}
    if precision == INT8:
        import_paddle()
        from ...quantization import paddle_form

        graph = onnx_graph.load(model / QUANTIZED)
        layers = paddle_form.write(model, graph, calibration.read(model).limits, out)
        facts = integers.proof("paddle", layers, _computed_as_integers(out, machine))
    folder = _folder(model, out, precision)
    files = [str(folder / name) for name in (PADDLE_MODEL, PADDLE_WEIGHTS)]
    return {"version": paddle_version(), "files": files, **facts}


def _folder(model: Path, out: Path, precision: str) -> Path:
    return out if precision == INT8 else model


def _computed_as_integers(folder: Path, machine: Machine) -> set[str]:
    """The weights of the convolutions that Paddle Inference computes with integers."""
    from ...network import exported

    with scratch(folder) as here:
        config = _configured(folder, INT8, machine)
        config.set_optim_cache_dir(str(here))
        config.enable_save_optim_model(True)
        predictor(config)
        (program,) = here.glob("*.pdmodel")
        operators = exported.operators(program)
    return {
        name
        for op in operators
        if op.type in _INTEGERS
        and any(a.name == "mkldnn_data_type" and a.s == "int8" for a in op.attrs)
        for slot in op.inputs
        if slot.parameter == "Filter"
        for name in slot.arguments
    }


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the exported model in the folder ``model``, or for the one that was built."""
    import_paddle()
    return predictor(_configured(_folder(model, out, precision), precision, machine))


def _configured(folder: Path, precision: str, machine: Machine):
    from paddle import inference

    config = inference.Config(str(folder / PADDLE_MODEL), str(folder / PADDLE_WEIGHTS))
    config.disable_glog_info()
    config.enable_memory_optim()
    if machine.device == "gpu":
        config.enable_use_gpu(GPU_MEMORY_MB, 0)
    else:
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(machine.threads)
        if precision == INT8:
            config.enable_mkldnn_int8(_INTEGERS)
    return config


def predictor(config) -> Predictor:
    """A predictor for a configuration of Paddle Inference with one input and one output."""
    from paddle import inference

    from ...network import exported

    exported.require(Path(config.prog_file()))
    try:
        with hidden_stderr():  # it tells what became integers, a hundred lines
            engine = inference.create_predictor(config)
    except Exception as error:  # a damaged file raises almost anything
        raise TwoFourError(f"paddle cannot load {config.prog_file()}: {telling(error)}") from error
    source = engine.get_input_handle(engine.get_input_names()[0])
    result = engine.get_output_handle(engine.get_output_names()[0])

    def predict(images: np.ndarray) -> np.ndarray:
        with running("paddle", images):
            source.reshape(images.shape)
            source.copy_from_cpu(images)
            engine.run()
            return result.copy_to_cpu()

    return predict
