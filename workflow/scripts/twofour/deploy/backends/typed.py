"""A network in fp16 or bf16 by the types of its tensors, for engines that compute as typed.

TensorRT from version 10 on builds strongly typed networks, and from 11 on no others: an operator
computes in the type of its inputs, and no flag allows another (NVIDIA's migration guide from 10 to
11, "Strongly Typed Networks Are Now Required").

Softmax stays in fp32, as in a training in mixed precision, and so does an operator with a weight
beyond the range of fp16. Images and probabilities stay fp32: the engine is fed and read as ever.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ...quantization import fold, onnx_graph
from ...quantization.onnx_graph import DQ, Graph, Q
from ...system.cli import log
from .interface import INT8

FP16, BF16 = "fp16", "bf16"
_EXACT = ("Softmax",)
_TO_INTEGERS = (Q, "Shape")
_LARGEST = {FP16: 65504.0, BF16: (2 - 2**-7) * 2.0**127}
# ONNX operators have these types from these opsets on: Q/DQ with scales in fp16, Conv in bf16.
_OPSETS = {FP16: 19, BF16: 22}
_IR = 9  # of the file format, which came with opset 19
_FP32 = ".fp32"  # what follows the name of the version of a tensor that stays exact


def write(graph: Graph, source: Path, out: Path, precision: str) -> Path:
    """Write the ``graph`` of the file ``source``, in the types of ``precision``, to ``out``.

    The rest of a network in int8 is in fp16. Returns the path.
    """
    kind = FP16 if precision == INT8 else precision
    large = cast(graph, kind)
    if large:
        log.warning(
            "warning: %d operators of %s stay in fp32, since their weights exceed %s; the first "
            "is %s",
            *(len(large), source, kind, large[0]),
        )
    path = out / source.name
    onnx_graph.write(path, graph)
    return path


def cast(graph: Graph, precision: str) -> list[str]:
    """Give the tensors of ``graph`` (fp32, perhaps with Q/DQ pairs) the type of ``precision``.

    Batch norms are folded into the convolutions first, in fp32. Tensors keep their names. Changes
    the graph; returns the names of the operators that stay in fp32 because of their weights.
    """
    fold.fold(graph)
    large = [node for node in graph.proto.node if _exceeds(graph, node, _LARGEST[precision])]
    softmax = [node for node in graph.proto.node if node.op_type in _EXACT]
    exact = {node.output[0] for node in (*large, *softmax)}  # operators need not have names
    _cast_stored(graph, exact, precision)
    _cast_computed(graph, exact, precision)
    for opset in graph.model.opset_import:
        if not opset.domain:
            opset.version = max(opset.version, _OPSETS[precision])
    graph.model.ir_version = max(graph.model.ir_version, _IR)
    return [node.name or node.output[0] for node in large]


def _exceeds(graph: Graph, node: Any, largest: float) -> bool:
    stored = (graph.array(name) for name in node.input if _is_float(graph, name))
    return any(np.abs(values).max(initial=0) > largest for values in stored)


def _is_float(graph: Graph, name: str) -> bool:
    """Whether ``name`` is a stored tensor in fp32."""
    from onnx import TensorProto

    return name in graph.stored and graph.stored[name].data_type == TensorProto.FLOAT


def _cast_stored(graph: Graph, exact: Collection[str], precision: str) -> None:
    """Store weights in the type; those that the makers of ``exact`` read stay in fp32 for them."""
    for name in [name for name in graph.stored if _is_float(graph, name)]:
        readers = graph.readers.get(name, [])
        keeping = [node for node in readers if node.output[0] in exact]
        if len(keeping) == len(readers):
            continue
        if keeping:
            graph.store(name + _FP32, graph.array(name))
        for node in keeping:
            node.input[:] = [i + _FP32 if i == name else i for i in node.input]
        graph.put(_tensor(name, graph.array(name), _onnx_type(precision)))
    graph.refresh()


def _cast_computed(graph: Graph, exact: Collection[str], precision: str) -> None:
    """Cast each computed tensor where an operator reads it in another type than it is made in."""
    from onnx import TensorProto, helper

    # {computed tensor of numbers that are no integers: whether it is of the type}
    lowered = {graph.images: False}
    casts: dict[str, Any] = {}

    def add(name: str, new: str, low: bool) -> str:
        kind = _onnx_type(precision) if low else TensorProto.FLOAT
        casts.setdefault(new, helper.make_node("Cast", [name], [new], name=new, to=kind))
        return new

    for node in graph.proto.node:
        low = node.output[0] not in exact
        turns = [i for i, name in enumerate(node.input) if lowered.get(name, low) != low]
        reads = any(name in lowered for name in node.input)
        if node.op_type == DQ or (reads and node.op_type not in _TO_INTEGERS):
            lowered.update(dict.fromkeys(node.output, low))
        for index in turns:
            name = node.input[index]
            node.input[index] = add(name, f"{name}.{precision}" if low else name + _FP32, low)
    for output in graph.proto.output:
        if lowered[output.name]:  # the network returns fp32 all the same
            inner = f"{output.name}.{precision}"
            graph.makers[output.name].output[0] = inner
            add(inner, output.name, low=False)
    graph.set_nodes([*graph.proto.node, *casts.values()])


def _onnx_type(precision: str) -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT16 if precision == FP16 else TensorProto.BFLOAT16)


def _tensor(name: str, values: np.ndarray, kind: int) -> Any:
    """``values`` (float32) as an ONNX tensor in fp16 or bf16, rounded to nearest, ties to even."""
    from onnx import TensorProto, helper

    if kind == TensorProto.FLOAT16:
        raw = values.astype(np.float16)
    else:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        raw = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return helper.make_tensor(name, kind, values.shape, raw.tobytes(), raw=True)
