"""A Paddle inference model with the scales of a Q/DQ file, for Paddle Inference's own int8.

The exported model keeps its batch norms: folding one multiplies each output channel's weights and
its scale alike, so that the integers are the same (but for their sign).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..network import exported, scope
from ..system.errors import TwoFourError
from . import forms, placement
from .onnx_graph import DQ, Graph
from .ranges import LEVELS, UNSIGNED

# operator: its slots for activations and weight, and the axis of the output channels
_LAYERS = {"conv2d": ("Input", "Filter", 0), "mul": ("X", "Y", 1), "matmul_v2": ("X", "Y", 1)}


def write(
    source: Path, graph: Graph, limits: Mapping[str, float], out: Path, onednn: bool = True
) -> list[str]:
    """Write to ``out`` the model of the folder ``source``, quantised as ``graph`` is.

    ``graph`` is in TensorRT's form. oneDNN computes with integers only where it knows the range of
    the result, too: what reads such a result and is no quantised layer (the global pool, an
    excluded layer) gets it rounded by the range in ``limits``. Returns the names of the weights of
    the convolutions that are integers.

    For ``onednn``, the ranges behind residual additions with a shortcut are 255/127 as wide:
    PaddlePaddle 2.6 scales what follows a ReLU for uint8 (255 levels), but keeps int8 (127 levels)
    for the sum with a shortcut, which is int8, and would clip it at half its range.
    """
    scales = {**{n: v / LEVELS for n, v in limits.items()}, **forms.activation_scales(graph)}
    for name in _behind_shortcuts(graph) if onednn else ():
        scales[name] *= UNSIGNED / LEVELS
    names = [node.input[1] for node in forms.quantised_layers(graph)]
    rounded = {
        name for add in placement.residual_additions(graph) for name in _rounded_sides(graph, add)
    }
    absorbed = _absorbed(graph)
    results = _results(graph)
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    own = paddle.static.Scope()
    with paddle.static.scope_guard(own), paddle.utils.unique_name.guard():
        program, images, result = exported.load(source, executor)
        edit = _Edit(program, own)
        found = []
        for op in edit.operators():
            if op.type in _LAYERS and (weight := op.input(_LAYERS[op.type][1])[0]) in names:
                activation, slot, axis = _LAYERS[op.type]
                name = op.input(activation)[0]
                edit.replace(slot, edit.weight(weight, axis))
                edit.replace(activation, edit.pair(name, scales[name]))
                found.append((weight, op.type))
            elif op.type == "elementwise_add":
                for slot in ("X", "Y"):
                    name = op.input(slot)[0]
                    if name in rounded or (name in results and name not in absorbed):
                        edit.replace(slot, edit.pair(name, scales[name]))
            elif (op.type == "pool2d" and op.attr("adaptive")) or op.type in _LAYERS:
                slot = _LAYERS[op.type][0] if op.type in _LAYERS else "X"
                name = op.input(slot)[0]
                if name in results:
                    edit.replace(slot, edit.pair(name, scales[name]))
        missing = set(names) - {weight for weight, _ in found}
        if missing:
            raise TwoFourError(f"{source} has no layer {min(missing)}, which its ONNX file has")
        edit.remove("feed", "fetch")
        result = edit.without_scale(result)
        exported.save(out, images, result, executor, program)
    return [weight for weight, kind in found if kind == "conv2d"]


def _behind_shortcuts(graph: Graph) -> Iterator[str]:
    """What follows the additions whose rounded side is made by a convolution."""
    for add in placement.residual_additions(graph):
        if any(graph.maker(name) == "Conv" for name in _rounded_sides(graph, add)):
            yield placement.behind(graph, add.output[0])


def _rounded_sides(graph: Graph, add: Any) -> list[str]:
    """The activations that an addition reads rounded."""
    pairs = [graph.makers[name] for name in add.input if graph.maker(name) == DQ]
    return [graph.makers[pair.input[0]].input[0] for pair in pairs]


def _results(graph: Graph) -> set[str]:
    """What the quantised convolutions end in: their sum with the other branch, or a ReLU."""
    convs = {node.output[0] for node in forms.quantised_convolutions(graph)}
    ends = {placement.behind(graph, name) for name in convs}
    for add in placement.residual_additions(graph):
        if convs & set(add.input):
            ends.add(placement.behind(graph, add.output[0]))
    return ends


def _absorbed(graph: Graph) -> set[str]:
    """Results of convolutions with which an addition is fused, so that they are never rounded."""
    return {
        name
        for add in placement.residual_additions(graph)
        for name in add.input
        if _rounded_sides(graph, add) and graph.maker(name) == "Conv"
    }


class _Edit:
    """Changes to a loaded ``program``, whose weights are in ``own``."""

    def __init__(self, program: Any, own: Any) -> None:
        self._block = program.global_block()
        self._scope = own
        self._known: dict[str, str] = {}
        self._at = 0

    def operators(self) -> Iterator[Any]:
        """Each operator; what is inserted meanwhile goes in front of it."""
        self._at = 0
        while self._at < len(self._block.ops):
            yield self._block.ops[self._at]
            self._at += 1

    def replace(self, slot: str, name: str) -> None:
        """Have the present operator read another tensor."""
        self._block.ops[self._at].desc.set_input(slot, [name])

    def remove(self, *kinds: str) -> None:
        """Remove all operators of these kinds."""
        for index in reversed(range(len(self._block.ops))):
            if self._block.ops[index].type in kinds:
                self._block._remove_op(index)

    def without_scale(self, result: Any) -> Any:
        """The tensor behind the program's ``result``, which saving scales by 1, each time anew.

        PaddlePaddle 3 no longer does so.
        """
        (last,) = [op for op in self._block.ops if result.name in op.output_arg_names]
        if last.type != "scale":
            return result
        inner = self._block.var(last.input("X")[0])
        self.remove("scale")
        return inner

    def weight(self, name: str, axis: int) -> str:
        """Store a weight as integers; the name of what dequantises it."""
        from paddle.base import core

        (values,) = scope.read([name], self._scope).values()
        integers, scale = forms.round_weight(values, axis)
        self._block.var(name).desc.set_dtype(core.VarDesc.VarType.INT8)
        self._set(name, integers)
        result = self._variable(f"{name}.dq", values.shape)
        self._insert("dequantize_linear", name, scale * LEVELS, name, result, axis)
        return result

    def pair(self, name: str, scale: float) -> str:
        """Quantise and dequantise an activation, once; the name of the result."""
        if name not in self._known:
            shape, limit = self._block.var(name).shape, np.array([scale * LEVELS], np.float32)
            inner, result = (self._variable(name + end, shape) for end in (".q", ".dq"))
            self._insert("quantize_linear", name, limit, name, inner, -1)
            self._insert("dequantize_linear", inner, limit, name, result, -1)
            self._known[name] = result
        return self._known[name]

    def _variable(self, name: str, shape: Any) -> str:
        self._block.create_var(name=name, shape=shape, dtype="float32")
        return name

    def _insert(self, kind: str, x: str, limit: np.ndarray, of: str, y: str, axis: int) -> None:
        scale = self._stored(f"{of}@scale", limit)
        zero = self._stored(f"{of}@zero_point", np.zeros(len(limit), np.int32))
        self._block._insert_op(
            self._at,
            type=kind,
            inputs={"X": [x], "Scale": [scale], "ZeroPoint": [zero]},
            outputs={"Y": [y]},
            attrs={"quant_axis": axis, "bit_length": 8, "round_type": 0, "is_test": True},
        )
        self._at += 1

    def _stored(self, name: str, values: np.ndarray) -> str:
        if not self._block.has_var(name):
            kind = str(values.dtype)
            self._block.create_var(name=name, shape=values.shape, dtype=kind, persistable=True)
            self._set(name, values)
        return name

    def _set(self, name: str, values: np.ndarray) -> None:
        self._scope.var(name).get_tensor().set(values, paddle.CPUPlace())
