"""ONNX Runtime on NVIDIA GPUs, by its TensorRT provider, with sparse kernels allowed.

The provider builds the engines and does not say which layers use sparse kernels. It never forbids
TF32, so there is no fp32.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...artifacts import ONNX, QUANTIZED
from ...quantization import onnx_graph
from ...quantization.onnx_graph import Graph
from ...system.errors import TwoFourError
from ...system.hardware import Machine
from .. import cuda, profiles
from ..profiles import Profile
from . import onnxruntime as ort
from . import providers, tensorrt, typed
from .interface import INT8, About, Predictor

NAME, PROVIDER = "onnxruntime_tensorrt", "TensorrtExecutionProvider"
ABOUT = About(
    precisions={"gpu": (typed.FP16, "tf32", INT8)},  # Turing has no TF32
    summary="GPU, TensorRT by ONNX Runtime, sparse kernels allowed",
    reads=(ONNX,),
    reads_int8=(QUANTIZED,),
    packages=("onnxruntime-gpu", "tensorrt", "cuda-python"),
    sparse_kernels=True,
    for_batches=True,
)


def require(precision: str) -> None:
    """Raise TwoFourError in one sentence if this machine lacks something that is needed."""
    providers.require(NAME, PROVIDER)
    tensorrt.library()  # which loads the libraries that the provider needs
    cuda.require()


def identity(machine: Machine) -> dict:
    """What an engine depends on; one of another identity cannot be used here."""
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, **tensorrt.identity(machine)}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """Build an engine for each of ``batches``, in a folder for each in ``out``.

    One batch of each is run to see that the GPU computes all of the network.
    """
    import onnxruntime

    cuda.require_fast(precision, machine)
    path = _file(model, out, precision)
    exported = model / path.name
    graph = onnx_graph.load(exported)
    if path != exported:
        typed.write(graph, exported, out, precision)
    for old in _folders(out):  # of another model or for other batches
        shutil.rmtree(old)
    operators = {}
    for profile in batches:
        (out / profile.name).mkdir(parents=True)
        options = _options(out, precision, profile, graph)
        shape = (profile.largest, *graph.image_shape)
        operators[profile.name] = providers.proof(NAME, path, PROVIDER, options, shape)
    return {"version": onnxruntime.__version__, "files": [str(path)], "operators": operators}


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor that takes the engine for each batch from the folder ``out``."""
    require(precision)
    path = _file(model, out, precision)
    graph = onnx_graph.load(path)
    built = [profiles.named(folder.name) for folder in _folders(out)]
    if not built:
        raise TwoFourError(f"there is no engine in {out}; build it again")
    opened: dict[Profile, Predictor] = {}

    def predict(images: np.ndarray) -> np.ndarray:
        profile = profiles.choose(built, len(images))
        if profile not in opened:
            options = _options(out, precision, profile, graph)
            opened[profile] = ort.predictor(providers.session(NAME, path, PROVIDER, options))
        return opened[profile](images)

    return predict


def _file(model: Path, out: Path, precision: str) -> Path:
    if precision == "tf32":
        return model / ONNX
    return out / (QUANTIZED if precision == INT8 else ONNX)


def _folders(out: Path) -> list[Path]:
    return sorted(path for path in out.glob("bs*") if path.is_dir())


def _options(out: Path, precision: str, profile: Profile, graph: Graph) -> dict[str, str]:
    """The provider's options for one engine."""

    def images(count: int) -> str:
        return f"{graph.images}:" + "x".join(map(str, (count, *graph.image_shape)))

    return {
        "trt_sparsity_enable": "True",
        "trt_fp16_enable": str(precision != "tf32"),
        "trt_int8_enable": str(precision == INT8),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(out / profile.name),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(out),
        "trt_profile_min_shapes": images(profile.smallest),
        "trt_profile_opt_shapes": images(profile.largest),
        "trt_profile_max_shapes": images(profile.largest),
    }
