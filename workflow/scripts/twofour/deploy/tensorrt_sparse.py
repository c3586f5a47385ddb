"""NVIDIA TensorRT with sparse kernels allowed: the path on which 2:4 can buy speed.

TensorRT times the sparse and the dense kernels of each layer whose weights are 2:4 and takes the
faster; build.json says for which layers that was a sparse one.
"""

from __future__ import annotations

import functools

from . import tensorrt
from .tensorrt import FOR_BATCHES, PRECISIONS, SOURCES, identity, load, require

__all__ = ["FOR_BATCHES", "PRECISIONS", "SOURCES", "build", "identity", "load", "require"]

SPARSE_KERNELS = True
NOTE = ""

build = functools.partial(tensorrt.build, sparse=True)
