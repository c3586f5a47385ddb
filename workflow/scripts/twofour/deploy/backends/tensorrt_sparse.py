"""NVIDIA TensorRT with sparse kernels allowed: the path on which 2:4 can buy speed.

TensorRT times the sparse and the dense kernels of each layer whose weights are 2:4 and takes the
faster; build.json says for which layers that was a sparse one.
"""

from __future__ import annotations

import dataclasses
import functools

from . import tensorrt
from .tensorrt import identity, load, require

__all__ = ["ABOUT", "build", "identity", "load", "require"]

ABOUT = dataclasses.replace(
    tensorrt.ABOUT,
    summary="GPU, sparse kernels allowed: the path on which 2:4 can buy speed",
    sparse_kernels=True,
    note="",
)

build = functools.partial(tensorrt.build, sparse=True)
