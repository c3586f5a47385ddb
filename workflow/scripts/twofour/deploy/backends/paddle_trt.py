"""Paddle Inference with TensorRT subgraphs: the path of the published Paddle recipe.

It runs dense kernels: Paddle made TensorRT's sparse weights optional (PaddlePaddle/Paddle #53562)
and then removed them (#53905), so that since version 2.5 nothing can switch them on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...artifacts import CALIBRATION, DESCRIPTION, PADDLE_MODEL, PADDLE_WEIGHTS, QUANTIZED
from ...quantization import calibration, onnx_graph
from ...system.errors import TwoFourError
from ...system.hardware import Machine, gpus
from ...system.libraries import import_paddle
from ..profiles import Profile
from .interface import INT8, About, Predictor
from .paddle import GPU_MEMORY_MB, predictor

ABOUT = About(
    precisions={"gpu": ("fp32", "fp16", INT8)},
    summary="GPU, TensorRT inside of Paddle, dense kernels",
    reads=(PADDLE_MODEL, PADDLE_WEIGHTS),
    reads_int8=(PADDLE_MODEL, PADDLE_WEIGHTS, QUANTIZED, CALIBRATION, DESCRIPTION),
    packages=("paddlepaddle-gpu", "tensorrt"),
    for_batches=True,
    note="dense kernels: since version 2.5 Paddle cannot use TensorRT's sparse ones",
)
SHAPES, CACHE = "shapes.pbtxt", "engines"
WORKSPACE = 1 << 30  # bytes that TensorRT may use for scratch
SMALLEST_SUBGRAPH = 3  # operators; smaller ones stay with Paddle


def require(precision: str) -> None:
    """Raise TwoFourError in one sentence if this machine lacks something that is needed."""
    import_paddle()
    from paddle import inference

    compiled, found = _versions()
    if compiled == (0, 0, 0):
        raise TwoFourError(
            "the backend paddle_trt needs a PaddlePaddle that was built with TensorRT, and the "
            "installed one was not; install paddlepaddle-gpu or take it out of deploy.backends"
        )
    if found == (0, 0, 0) or not hasattr(inference, "Config"):
        raise TwoFourError(
            f"the installed PaddlePaddle was built for TensorRT {_text(compiled)}, but no TensorRT "
            "library is found; install that version or take paddle_trt out of deploy.backends"
        )
    if found[:2] != compiled[:2]:
        raise TwoFourError(
            f"the installed PaddlePaddle was built for TensorRT {_text(compiled)}, but the library "
            f"found is {_text(found)}; install that version or take paddle_trt out of "
            "deploy.backends"
        )


def identity(machine: Machine) -> dict:
    """What the engines depend on; those of another identity cannot be used here."""
    import paddle

    (gpu, *_) = gpus() or [{}]
    return {
        "paddle": paddle.__version__,
        "tensorrt": _text(_versions()[1]),
        "gpu": machine.name,
        "compute_capability": gpu.get("compute_cap"),
    }


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """Find the range of all shapes between the smallest and the largest batch, then the engines.

    Paddle makes the engines when it loads the model, and keeps them in ``out``.
    """
    import paddle

    batches = list(batches)
    smallest, largest = min(b.smallest for b in batches), max(b.largest for b in batches)
    # Paddle reuses any engine that it finds there, even one for other weights and shapes.
    shutil.rmtree(out / CACHE, ignore_errors=True)
    (out / SHAPES).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    shape = _input_shape(model)
    if precision == INT8:
        from ...quantization import paddle_form

        graph = onnx_graph.load(model / QUANTIZED)
        paddle_form.write(model, graph, calibration.read(model).limits, out, onednn=False)
    folder = out if precision == INT8 else model
    collect_shapes(folder, out / SHAPES, [(n, *shape) for n in (smallest, largest)], machine)
    predict = load(model, out, precision, machine)
    for size in sorted({n for b in batches for n in (b.smallest, b.largest)}):
        predict(np.zeros((size, *shape), np.float32))
    (gpu, *_) = gpus() or [{}]
    return {
        "version": f"{paddle.__version__} with TensorRT {_text(_versions()[1])}",
        "driver": gpu.get("driver_version"),
        "files": [str(folder / name) for name in (PADDLE_MODEL, PADDLE_WEIGHTS)],
    }


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the exported model with the engines in the folder ``out``."""
    require(precision)
    return predictor(configure(model, out, precision))


def configure(model: Path, out: Path, precision: str):
    """Paddle Inference's configuration: engines in ``out``, dynamic shapes as collected there."""
    from paddle import inference

    kinds = inference.PrecisionType
    modes = {"fp32": kinds.Float32, "fp16": kinds.Half, INT8: kinds.Int8}
    folder = out if precision == INT8 else model
    config = inference.Config(str(folder / PADDLE_MODEL), str(folder / PADDLE_WEIGHTS))
    config.disable_glog_info()
    config.enable_memory_optim()
    config.enable_use_gpu(GPU_MEMORY_MB, 0)
    config.set_optim_cache_dir(str(out / CACHE))
    config.enable_tensorrt_engine(
        workspace_size=WORKSPACE,
        max_batch_size=1,  # has no effect with dynamic shapes
        min_subgraph_size=SMALLEST_SUBGRAPH,
        precision_mode=modes[precision],
        use_static=True,
        use_calib_mode=False,
    )
    config.enable_tuned_tensorrt_dynamic_shape(str(out / SHAPES), True)
    if precision == INT8:  # by the model's own scales
        config.enable_tensorrt_explicit_quantization()
    return config


def collect_shapes(model: Path, path: Path, shapes: list[tuple], machine: Machine) -> None:
    """Run the model on zeros of ``shapes`` and write the ranges of all its tensors to ``path``."""
    from paddle import inference

    config = inference.Config(str(model / PADDLE_MODEL), str(model / PADDLE_WEIGHTS))
    config.disable_glog_info()
    if machine.device == "gpu":
        config.enable_use_gpu(GPU_MEMORY_MB, 0)
    config.collect_shape_range_info(str(path))
    predict = predictor(config)
    for shape in shapes:
        predict(np.zeros(shape, np.float32))
    del predict  # the file is written when the predictor is destroyed
    if not path.is_file():
        raise TwoFourError(f"Paddle Inference did not write the ranges of shapes to {path}")


def _input_shape(model: Path) -> tuple[int, ...]:
    from ...system.files import read_json

    return tuple(read_json(model / DESCRIPTION)["input"]["shape"][1:])


def _versions() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """TensorRT's version that Paddle was compiled for, and the one it finds; (0, 0, 0) for none."""
    from paddle import inference

    return inference.get_trt_compile_version(), inference.get_trt_runtime_version()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
