"""Whether TensorRT takes a Q/DQ file, whoever wrote it, and computes with its integers.

By the rules of its documentation ("Working with Quantized Types", "Q/DQ Layer-Placement
Recommendations") and of its ONNX parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..sparse import onnx_file, tensors
from ..system.errors import TwoFourError
from .onnx_graph import DQ, WEIGHTED, Graph, Q, scale_axis
from .onnx_graph import axis as output_axis

_WITH_AXIS = 13  # the first opset in which Q and DQ may be per channel
_INT8, _UINT8, _INT32 = 3, 2, 6  # ONNX's numbers of types
# Operators that compute with integers by themselves; TensorRT has none of them.
_INTEGERS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm", "QLinearAdd")


@dataclass(frozen=True)
class Finding:
    """What is wrong with an operator. ``refused``: TensorRT rejects it, or computes nonsense."""

    node: str
    rule: str
    refused: bool


@dataclass(frozen=True)
class Report:
    """The ``findings`` on the file ``path``, which has ``pairs`` of Q and DQ on activations."""

    path: str
    pairs: int
    layers: int
    quantised: int
    findings: list[Finding]


def judge(path: Path) -> Report:
    """Judge the Q/DQ file ``path``; TwoFourError if it cannot be read or holds no Q or DQ."""
    if path.suffix.lower() != ".onnx":
        raise TwoFourError(f"{path} is no .onnx file; only Q/DQ files in ONNX can be judged so")
    if not path.is_file():
        raise TwoFourError(f"{path} does not exist")
    model = onnx_file.load(path)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    graph = _Graph(model)
    findings = list(_judge(graph, opset))
    layers = [n for n in graph.proto.node if n.op_type in WEIGHTED and graph.weight(n) is not None]
    pairs = sum(n.op_type == Q and graph.stored.get(n.input[0]) is None for n in graph.proto.node)
    integers = any(n.op_type in _INTEGERS for n in graph.proto.node)
    if not pairs and not integers and not any(n.op_type == DQ for n in graph.proto.node):
        raise TwoFourError(f"{path} is not quantised: it has no QuantizeLinear operator")
    quantised = sum(graph.is_quantised(node) for node in layers)
    return Report(str(path), pairs, len(layers), quantised, findings)


def text(report: Report) -> str:
    """The findings, a line each."""
    lines = [
        f"  {'REFUSED' if f.refused else 'slower '}  {f.node}: {f.rule}" for f in report.findings
    ]
    return "\n".join([report.path, *lines])


def summary(report: Report) -> str:
    """One sentence on a file."""
    refused = sum(finding.refused for finding in report.findings)
    slower = len(report.findings) - refused
    return (
        f"{report.path}: {report.quantised} of {report.layers} layers with weights are quantised, "
        f"{report.pairs} activations are rounded; {refused} operators TensorRT refuses or "
        f"misreads, {slower} keep it from its fast kernels"
    )


class _Graph(Graph):
    """The main graph of a file, in which constants may also be operators."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        for node in self.proto.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.stored[node.output[0]] = attribute.t

    def values(self, name: str) -> np.ndarray | None:
        tensor = self.stored.get(name)
        return None if tensor is None else tensors.decode(tensor)

    def weight(self, node: Any) -> Any:
        """The stored tensor that is a layer's weight, whether quantised or not; None if none is."""
        name = node.input[1] if len(node.input) > 1 else ""
        while name in self.makers and self.makers[name].op_type in (Q, DQ):
            name = self.makers[name].input[0]
        return self.stored.get(name)

    def is_quantised(self, node: Any) -> bool:
        """Whether a layer's input and weight are both dequantised."""
        return all(self.maker(name) == DQ for name in node.input[:2])


def _judge(graph: _Graph, opset: int) -> Iterator[Finding]:
    for node in graph.proto.node:
        label = node.name or (node.output[0] if node.output else node.op_type)
        if node.op_type in _INTEGERS:
            yield Finding(label, f"TensorRT has no operator {node.op_type}; it takes Q/DQ", True)
        elif node.op_type == DQ and graph.maker(node.input[0]) == Q:
            continue  # it is of one pair with that Q, and has the same scale
        elif node.op_type in (Q, DQ):
            for rule, refused in _rules_of_pair(graph, node, opset):
                yield Finding(label, rule, refused)
        elif node.op_type in WEIGHTED and graph.weight(node) is not None:
            for rule, refused in _rules_of_layer(graph, node):
                yield Finding(label, rule, refused)
        elif node.op_type == "Add" and all(graph.maker(name) == DQ for name in node.input):
            yield Finding(
                label,
                "both sides of the addition are rounded, so that it is not fused into the "
                "convolution before it; round only the identity or shortcut",
                False,
            )


def _rules_of_pair(graph: _Graph, node: Any, opset: int) -> Iterator[tuple[str, bool]]:
    if node.domain not in ("", "ai.onnx"):
        yield f"it is of the domain {node.domain}, which TensorRT does not know", True
        return
    scale = graph.values(node.input[1])
    if scale is None:
        yield "its scale is computed at run time; it must be stored", True
        return
    on_weight = graph.stored.get(node.input[0]) is not None or (
        graph.maker(node.input[0]) == Q
        and graph.stored.get(graph.makers[node.input[0]].input[0]) is not None
    )
    if not np.isfinite(scale).all() or (scale <= 0).any():
        yield "a scale is not positive", True
    if len(node.input) < 3 or not node.input[2]:
        yield "without a zero point, others take it for uint8 and TensorRT for int8", True
    else:
        zero = graph.stored.get(node.input[2])
        if zero is None:
            yield "its zero point is computed at run time; it must be stored", True
        elif zero.data_type == _INT32:
            yield "it dequantises int32; biases stay in floating point", True
        elif zero.data_type == _UINT8:
            yield "its zero point is uint8, which TensorRT reads as int8", True
        elif zero.data_type != _INT8:
            yield "its zero point is not int8", True
        if zero is not None and np.any(tensors.decode(zero)):
            yield "its zero point is not 0; TensorRT rounds symmetrically", True
    if scale.size > 1 and not on_weight:
        yield "an activation has a scale for each channel; TensorRT takes one for the tensor", True
    if scale.size > 1 and opset < _WITH_AXIS:
        yield f"a scale for each channel needs opset {_WITH_AXIS}, and the file has {opset}", True
    if scale.size > 1 and on_weight and node.op_type == DQ:
        along = scale_axis(node)
        for reader in graph.readers.get(node.output[0], []):
            if reader.op_type in WEIGHTED and along != output_axis(reader):
                yield f"its scales are along axis {along}, not that of the output channels", True


def _rules_of_layer(graph: _Graph, node: Any) -> Iterator[tuple[str, bool]]:
    rounded = [graph.maker(name) == DQ for name in node.input[:2]]
    if any(rounded) and not all(rounded):
        missing = "weight" if rounded[0] else "input"
        yield f"its {missing} is not rounded, so that it computes in floating point", False
    if not all(rounded):
        return
    readers = graph.readers.get(node.output[0], [])
    if len(readers) == 1 and readers[0].op_type == "BatchNormalization":
        yield "a batch norm follows it; fold that into its weights", False
