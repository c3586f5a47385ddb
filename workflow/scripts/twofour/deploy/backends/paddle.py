"""Paddle Inference: the framework's own engine, with oneDNN on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...artifacts import PADDLE_MODEL, PADDLE_WEIGHTS
from ...system.hardware import Machine
from ...system.libraries import import_paddle
from ..profiles import Profile
from .interface import DENSE_NOTE, About, Predictor

ABOUT = About(
    precisions={"cpu": ("fp32",), "gpu": ("fp32",)},
    summary="CPU or GPU",
    reads=(PADDLE_MODEL, PADDLE_WEIGHTS),
    packages=("paddlepaddle",),
    note=DENSE_NOTE,
)
GPU_MEMORY_MB = 256  # first allocation; it grows as needed


def require(precision: str) -> None:
    """Nothing is needed beyond PaddlePaddle itself, which is loaded here."""
    import_paddle()


def identity(machine: Machine) -> dict:
    """Nothing is built, so nothing depends on the machine."""
    return {}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """Nothing to build: the exported model is loaded as it is. Loads it once to check that."""
    import paddle

    load(model, out, precision, machine)
    return {"version": paddle.__version__, "files": [str(model / name) for name in ABOUT.reads]}


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the exported model in the folder ``model``."""
    from paddle import inference

    config = inference.Config(str(model / PADDLE_MODEL), str(model / PADDLE_WEIGHTS))
    config.disable_glog_info()
    config.enable_memory_optim()
    if machine.device == "gpu":
        config.enable_use_gpu(GPU_MEMORY_MB, 0)
    else:
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(machine.threads)
    return predictor(config)


def predictor(config) -> Predictor:
    """A predictor for a configuration of Paddle Inference with one input and one output."""
    from paddle import inference

    engine = inference.create_predictor(config)
    source = engine.get_input_handle(engine.get_input_names()[0])
    result = engine.get_output_handle(engine.get_output_names()[0])

    def predict(images: np.ndarray) -> np.ndarray:
        source.reshape(images.shape)
        source.copy_from_cpu(images)
        engine.run()
        return result.copy_to_cpu()

    return predict
