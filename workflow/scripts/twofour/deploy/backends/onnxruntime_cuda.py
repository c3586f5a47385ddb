"""ONNX Runtime on NVIDIA GPUs, by its CUDA provider: cuDNN's dense kernels.

It has no int8 convolutions (it would compute them in floating point).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...artifacts import ONNX
from ...quantization import onnx_graph
from ...system.hardware import Machine
from .. import cuda
from ..profiles import Profile
from . import onnxruntime as ort
from . import providers, typed
from .interface import DENSE_NOTE, About, Predictor

NAME, PROVIDER = "onnxruntime_cuda", "CUDAExecutionProvider"
ABOUT = About(
    precisions={"gpu": ("fp32", "tf32", typed.FP16)},
    summary="GPU, cuDNN by ONNX Runtime",
    reads=(ONNX,),
    packages=("onnxruntime-gpu", "cuda-python"),
    note=DENSE_NOTE,
)


def require(precision: str) -> None:
    """Raise TwoFourError in one sentence if this machine lacks something that is needed."""
    providers.require(NAME, PROVIDER)
    cuda.require()


def identity(machine: Machine) -> dict:
    """Nothing that is built depends on the machine."""
    return {}


def build(
    model: Path, out: Path, precision: str, machine: Machine, batches: Iterable[Profile]
) -> dict:
    """For fp16, the network is written to ``out`` with tensors of that type.

    One batch is run to see which operators the GPU computes.
    """
    import onnxruntime

    cuda.require_fast(precision, machine)
    providers.require_code(NAME, PROVIDER, machine)
    path = model / ONNX
    graph = onnx_graph.load(path)
    if precision == typed.FP16:
        path = typed.write(graph, path, out, precision)
    shape = (1, *graph.image_shape)
    found = providers.proof(NAME, path, PROVIDER, _options(precision), shape)
    return {"version": onnxruntime.__version__, "files": [str(path)], "operators": found}


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor for the ONNX file in the folder ``model``, or for the one that was built."""
    path = (out if precision == typed.FP16 else model) / ONNX
    return ort.predictor(providers.session(NAME, path, PROVIDER, _options(precision)))


def _options(precision: str) -> dict[str, str]:
    return {"use_tf32": str(precision == "tf32"), "cudnn_conv_algo_search": "EXHAUSTIVE"}
