"""Q/DQ files in the forms that engines take: one set of ranges, a graph for each.

TensorRT's (:func:`for_tensorrt`) is model.int8.onnx, which OpenVINO takes as well: int8 with zero
point 0, weights per output channel, biases in float, pairs where :mod:`.placement` says.
ONNX Runtime computes with integers only between a Q in front and one behind, and absorbs a ReLU
only if its zero point is the smallest integer (:func:`for_onnxruntime`): what is never negative has
uint8 there, the same range in 255 steps instead of 127. TensorRT reads such files as int8 without a
word, so that form stays in ONNX Runtime's own folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..system.errors import TwoFourError
from . import placement
from .onnx_graph import DQ, Graph, Q, along, axis, scale_axis
from .ranges import LEVELS, UNSIGNED

_TINY = 1e-12  # the range of a tensor of zeros, whose scale must not be 0
STORED, SCALE, ZERO = ".int8", ".scale", ".zero"  # a layer's weight: what follows its name


def for_tensorrt(graph: Graph, limits: Mapping[str, float], exclude: Iterable[str] = ()) -> Graph:
    """Quantise ``graph``, whose batch norms are folded; ``limits`` are those of its activations.

    Changes and returns the graph. The dequantised weights have the names that the weights had, so
    that layers keep their names.
    """
    placed = placement.place(graph, exclude)
    missing = [name for name in placed.tensors if name not in limits]
    if missing:
        raise TwoFourError(f"the calibration has no range for {missing[0]}; calibrate again")
    pairs = _Pairs(graph)
    weights = [_quantise_weight(graph, node) for node in placed.layers]
    for node in placed.layers:
        node.input[0] = pairs.of(node.input[0], limits[node.input[0]])
    for add, index in placed.sides:
        add.input[index] = pairs.of(add.input[index], limits[add.input[index]])
    graph.set_nodes([*weights, *pairs.nodes, *graph.proto.node])
    return graph


def for_onnxruntime(graph: Graph, limits: Mapping[str, float]) -> Graph:
    """ONNX Runtime's form of a ``graph`` in TensorRT's, with the same ranges and weights.

    ``limits`` are those of the tensors that only this form rounds. Changes and returns the graph.
    """
    scales = activation_scales(graph)
    _remove_pairs(graph)
    positive = placement.never_negative(graph)
    by_integers = {node.output[0] for node in quantised_convolutions(graph)}
    sums = placement.residual_additions(graph)
    rounded = dict.fromkeys(scales)
    for node in graph.proto.node:
        if node.output[0] in by_integers:
            rounded[placement.behind(graph, node.output[0])] = None
        if node in sums:  # the last one's result is not rounded: the global pool is exact
            rounded.update(dict.fromkeys(node.input))
        if node.op_type == "MaxPool":
            rounded.update(dict.fromkeys((node.input[0], node.output[0])))
    steps = {name: scales.get(name, limits.get(name, 0) / LEVELS) for name in rounded}
    for node in graph.proto.node:
        if node.op_type == "MaxPool":  # it passes integers on as they are
            steps[node.input[0]] = steps[node.output[0]]
    pairs = _Pairs(graph)
    for name in rounded:
        kind = np.uint8 if name in positive else np.int8
        new = pairs.of(name, steps[name] * LEVELS, kind)
        for node in graph.readers.get(name, []):
            node.input[:] = [new if i == name else i for i in node.input]
    graph.set_nodes([*pairs.nodes, *graph.proto.node])
    return graph


def with_float_weights(graph: Graph) -> Graph:
    """The form for TensorRT 8, whose networks have no int8 constants: weights in float, rounded.

    The numbers are the same: each weight is a whole multiple of its scale. Changes the graph.
    """
    nodes, dequantising = [], _weight_nodes(graph)
    for node in graph.proto.node:
        if node.output[0] in dequantising:
            stored, scale, zero = node.input[:3]
            values = graph.array(stored).astype(np.float32)
            step = along(graph.array(scale), values.ndim, scale_axis(node))
            name = stored.removesuffix(STORED) + ".float"
            graph.store(name, values * step)
            graph.drop([stored])
            nodes.append(_node(Q, [name, scale, zero], stored, axis=scale_axis(node)))
        nodes.append(node)
    graph.set_nodes(nodes)
    return graph


def activation_scales(graph: Graph) -> dict[str, float]:
    """{activation: step of its integers} of a graph in TensorRT's form."""
    return {
        node.input[0]: float(graph.array(node.input[1]))
        for node in graph.proto.node
        if node.op_type == Q and node.input[0] not in graph.stored
    }


def quantised_layers(graph: Graph) -> list[Any]:
    """The operators whose weights are stored as integers."""
    dequantised = _weight_nodes(graph)
    return [n for n in graph.proto.node if len(n.input) > 1 and n.input[1] in dequantised]


def quantised_convolutions(graph: Graph) -> list[Any]:
    """Those of them that are convolutions."""
    return [node for node in quantised_layers(graph) if node.op_type == "Conv"]


def _weight_nodes(graph: Graph) -> set[str]:
    """Names of what is dequantised from stored tensors."""
    nodes = graph.proto.node
    return {n.output[0] for n in nodes if n.op_type == DQ and n.input[0] in graph.stored}


def round_weight(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """``values`` as int8 from -127 to 127, and the steps (float32) of the channels along ``axis``.

    Zeros stay zeros, whatever the step.
    """
    others = tuple(i for i in range(values.ndim) if i != axis)
    steps = (np.maximum(np.abs(values).max(axis=others), _TINY) / LEVELS).astype(np.float32)
    rounded = np.rint(values / along(steps, values.ndim, axis))
    return np.clip(rounded, -LEVELS, LEVELS).astype(np.int8), steps


def _quantise_weight(graph: Graph, layer: Any) -> Any:
    """Store a layer's weight as integers; returns the operator that dequantises it."""
    name, channels = layer.input[1], axis(layer)
    integers, steps = round_weight(graph.array(name), channels)
    graph.drop([name])
    graph.store(name + STORED, integers)
    graph.store(name + SCALE, steps)
    graph.store(name + ZERO, np.zeros(len(steps), np.int8))
    return _node(DQ, [name + STORED, name + SCALE, name + ZERO], name, axis=channels)


def _remove_pairs(graph: Graph) -> None:
    """Take the Q/DQ pairs of activations out again; the weights stay dequantised integers."""
    gone = {n.output[0]: n for n in graph.proto.node if n.op_type == Q}
    back, constants = {}, set()
    for node in graph.proto.node:
        if node.op_type == DQ and node.input[0] in gone:
            back[node.output[0]] = gone[node.input[0]].input[0]
            constants.update(node.input[1:])
    nodes = []
    for node in graph.proto.node:
        if node.output[0] in gone or node.output[0] in back:
            continue
        node.input[:] = [back.get(name, name) for name in node.input]
        nodes.append(node)
    graph.drop(constants)
    graph.set_nodes(nodes)


class _Pairs:
    """Q/DQ pairs for the activations of a graph, one for each tensor, shared by its readers."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes: list[Any] = []
        self._known: set[str] = set()

    def of(self, name: str, limit: float, kind: type = np.int8) -> str:
        """The dequantised tensor for ``name``, whose integers of this ``kind`` reach ``limit``."""
        if name not in self._known:
            self._known.add(name)
            scale, zero = name + SCALE, name + ZERO
            top = UNSIGNED if kind is np.uint8 else LEVELS
            self._graph.store(scale, np.array(max(limit, _TINY) / top, np.float32))
            self._graph.store(zero, np.array(0, kind))
            self.nodes += [
                _node(Q, [name, scale, zero], f"{name}.q"),
                _node(DQ, [f"{name}.q", scale, zero], f"{name}.dq"),
            ]
        return f"{name}.dq"


def _node(kind: str, inputs: list[str], output: str, **attributes) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, [output], name=f"{output}.{kind}", **attributes)
