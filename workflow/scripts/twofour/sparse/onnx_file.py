"""The layers of an ONNX file, and every other stored tensor that could be a layer's weight.

Weights are followed from where they are stored to the operator that computes with them, also
through quantisation, turning and other constant operators, and into the bodies of If and Loop.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..system.errors import TwoFourError, telling
from . import tensors
from .contents import Contents, Layer, layer, looks_like_weight

# operator: which input is the weight, which its zero point (if any), and where the input channels
# are: an axis, counted from the front for convolutions, from the back for matrices
_OPERATORS: dict[str, list[tuple[int, int | None, int]]] = {
    "Conv": [(1, None, 1)],
    "FusedConv": [(1, None, 1)],
    "ConvTranspose": [(1, None, 0)],
    "ConvInteger": [(1, 3, 1)],
    "QLinearConv": [(3, 5, 1)],
    "Gemm": [(1, None, -2), (0, None, -1)],
    "FusedGemm": [(1, None, -2), (0, None, -1)],
    "MatMul": [(1, None, -2), (0, None, -1)],
    "FusedMatMul": [(1, None, -2), (0, None, -1)],
    "MatMulInteger": [(1, 3, -2), (0, 2, -1)],
    "QLinearMatMul": [(3, 5, -2), (0, 2, -1)],
}
_DOMAINS = ("", "ai.onnx", "com.microsoft")  # whose operators of these names mean that
_REORDERED = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
# What these read beside their first input is no weight of a layer: biases, tables, indices, bounds.
_NO_LAYER = {
    *("Add", "Sub", "Gather", "GatherND", "GatherElements", "Where", "Equal", "Greater", "Less"),
    *("GreaterOrEqual", "LessOrEqual", "And", "Or", "Not", "Min", "Max", "Clip", "PRelu", "Pad"),
    *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"),
    *("Resize", "Upsample", "Slice", "Reshape", "ReorderInput", "ReorderOutput", "SkipLayerNorm"),
}


@dataclass
class _Node:
    """An operator with the names of its tensors as they are unique in the whole file."""

    proto: object
    inputs: list[str]
    outputs: list[str]
    label: str

    @property
    def kind(self) -> str:
        return self.proto.op_type  # type: ignore[attr-defined]

    @property
    def domain(self) -> str:
        return self.proto.domain  # type: ignore[attr-defined]

    @property
    def words(self) -> str:
        """How a reader finds it: type and name."""
        kind = f"{self.domain}.{self.kind}" if self.domain else self.kind
        return f"{kind} {self.label}" if self.label else kind

    def attribute(self, name: str, default: int) -> int:
        found = [a.i for a in self.proto.attribute if a.name == name]  # type: ignore[attr-defined]
        return int(found[0]) if found else default


@dataclass
class _File:
    """All graphs of a file as one list of nodes; ``stored`` are its tensors by unique name."""

    nodes: list[_Node] = field(default_factory=list)
    stored: dict[str, object] = field(default_factory=dict)
    inputs: dict[str, object] = field(default_factory=dict)


def read(path: Path) -> Contents:
    """The layers of the ONNX file at ``path``; TwoFourError if it is damaged or holds no graph."""
    model = load(path)
    file = _File()
    _flatten(model.graph, "", ChainMap(), file)
    if not file.nodes:
        raise TwoFourError(f"cannot read {path}: it is not an ONNX model, or has no operators")
    constants = _Constants(file, model.opset_import)
    layers: dict[tuple, Layer] = {}
    judged: set[str] = set()
    unjudged: dict[str, str] = {}
    for node in file.nodes:
        for name, found in _layers_of(node, constants):
            layers.setdefault((name, found.axis), found)
            judged |= constants.origins[name]
        unjudged.update(_given_from_outside(node, file, constants))
    harmless = {}
    readers = _readers(file)
    for name in file.stored:
        if name in judged or not constants.could_be_weight(name):
            continue
        stops = _where_it_ends(name, readers, constants)
        reason = "; ".join(dict.fromkeys(words for words, _ in stops)) or "nothing reads it"
        if all(no_layer for _, no_layer in stops):
            harmless[name] = reason
        else:
            unjudged[name] = reason
    return Contents(list(layers.values()), unjudged, harmless)


def load(path: Path):
    """The ONNX model at ``path``, complete, functions inlined; TwoFourError if it is damaged."""
    import onnx
    from onnx import external_data_helper, inliner

    try:
        model = onnx.load(str(path), load_external_data=False)
        for tensor in external_data_helper._get_all_tensors(model):
            if external_data_helper.uses_external_data(tensor):
                _require_external(tensor, path)
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        return inliner.inline_local_functions(model) if model.functions else model
    except TwoFourError:
        raise
    except Exception as error:  # a damaged file raises almost anything
        raise TwoFourError(f"cannot read {path}: {telling(error)}") from error


def _require_external(tensor, path: Path) -> None:
    """Raise TwoFourError unless the file with the tensor's values is there, and long enough."""
    facts = {entry.key: entry.value for entry in tensor.external_data}
    file = path.parent / facts.get("location", "")
    if not file.is_file():
        raise TwoFourError(f"cannot read {path}: the file with its weights, {file}, is missing")
    count = int(np.prod(tensor.dims, dtype=np.int64))
    needed = int(facts.get("length") or -(-count * tensors.bits(tensor.data_type) // 8))
    there = file.stat().st_size - int(facts.get("offset") or 0)
    if there < needed:
        raise TwoFourError(
            f"cannot read {path}: {file} is cut short, it holds {max(there, 0)} of the {needed} "
            f"bytes of {tensor.name}"
        )


def _flatten(graph, prefix: str, outer: ChainMap, file: _File) -> None:
    """Add a graph and those inside of it to ``file``; ``outer`` are the names it may refer to."""
    local: dict[str, str] = {}
    for value in graph.input:
        local[value.name] = prefix + value.name
    for tensor in graph.initializer:
        local[tensor.name] = prefix + tensor.name
        file.stored[prefix + tensor.name] = tensor
    for sparse in graph.sparse_initializer:
        local[sparse.values.name] = prefix + sparse.values.name
        file.stored[prefix + sparse.values.name] = sparse
    if not prefix:
        given = {value.name: value for value in graph.input}
        file.inputs.update({n: v for n, v in given.items() if n not in file.stored})
    for node in graph.node:
        for name in node.output:
            local[name] = prefix + name
    names = outer.new_child(local)
    for number, proto in enumerate(graph.node):
        inputs = [names.get(name, name) for name in proto.input]
        node = _Node(proto, inputs, [local[name] for name in proto.output], proto.name)
        file.nodes.append(node)
        if proto.op_type == "Constant":
            for attribute in proto.attribute:
                if attribute.name == "value":
                    file.stored[node.outputs[0]] = attribute.t
                elif attribute.name == "sparse_value":
                    file.stored[node.outputs[0]] = attribute.sparse_tensor
        for attribute in proto.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                where = f"{prefix}{proto.name or f'{proto.op_type}_{number}'}.{attribute.name}/"
                _flatten(inner, where, names, file)


def _layers_of(node: _Node, constants: _Constants) -> Iterator[tuple[str, Layer]]:
    """(tensor, layer) of each weight that a node computes with."""
    if node.domain not in _DOMAINS:
        return
    for index, zero_index, axis in _OPERATORS.get(node.kind, []):
        name = node.inputs[index] if len(node.inputs) > index else ""
        weight = constants.value(name) if name else None
        if weight is None or weight.ndim < 2:
            continue
        zero = None
        if zero_index is not None and len(node.inputs) > zero_index and node.inputs[zero_index]:
            zero = constants.value(node.inputs[zero_index])
            if zero is None:
                continue  # which numbers mean zero is known only when the model runs
        if zero is not None:
            weight = _shifted(weight, zero, 0 if axis == 1 else -1)
        if node.attribute("transA" if index == 0 else "transB", 0):
            axis = -3 - axis  # swaps -1 and -2
        yield name, layer(name, node.kind, weight, axis, node.attribute("group", 1), node.label)


def _given_from_outside(node: _Node, file: _File, constants: _Constants) -> dict[str, str]:
    """Inputs of the whole graph that look like the weight of this node."""
    slots = _OPERATORS.get(node.kind, []) if node.domain in _DOMAINS else []
    names = [node.inputs[index] for index, _, _ in slots if len(node.inputs) > index]
    if any(constants.value(name) is not None for name in names if name):
        return {}
    result = {}
    for name in names:
        if name in file.inputs:
            dimensions = file.inputs[name].type.tensor_type.shape.dim  # type: ignore[attr-defined]
            shape = [d.dim_value for d in dimensions]
            if all(shape) and looks_like_weight(tuple(shape)):
                result[name] = f"{node.words} gets it as an input of the model, not from the file"
    return result


def _readers(file: _File) -> dict[str, list[_Node]]:
    readers: dict[str, list[_Node]] = {}
    for node in file.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


def _where_it_ends(
    name: str, readers: Mapping[str, list[_Node]], constants: _Constants
) -> list[tuple[str, bool]]:
    """Why a stored tensor was not judged: (words, whether that shows that it is no weight).

    It is followed through whatever only computes another constant of it.
    """
    result: list[tuple[str, bool]] = []
    pending, seen = [name], {name}
    while pending:
        for node in readers.get(pending.pop(), []):
            outputs = [o for o in node.outputs if o]
            if node.domain in _REORDERED:
                words = f"{node.words} reads it, reordered by onnxruntime for one processor; check "
                result.append((words + "the model from before that", False))
            elif outputs and all(constants.value(o) is not None for o in outputs):
                pending += [o for o in outputs if o not in seen]
                seen.update(outputs)
            else:
                why = next((constants.failed[o] for o in outputs if o in constants.failed), "")
                harmless = node.kind in _NO_LAYER and not why
                words = f"{node.words} reads it" + (f" ({why})" if why else "")
                result.append((words, harmless))
    return result


def _shifted(values: np.ndarray, zero: np.ndarray, axis: int) -> np.ndarray:
    """``values`` minus their zero point: a scalar, a vector along ``axis``, or one for each value.

    In float32, which holds 8-bit integers and floats exactly.
    """
    if zero.ndim < 2 or zero.ndim != values.ndim:
        shape = [1] * values.ndim
        shape[axis] = -1
        zero = zero.reshape(shape)
    return values.astype(np.float32) - zero.astype(np.float32)


class _Constants:
    """Values of a file's graphs that do not depend on its inputs, computed on demand.

    ``origins`` has for each computed name the stored tensors it was made from; ``failed`` why a
    value that should be constant could not be computed.
    """

    def __init__(self, file: _File, opsets) -> None:
        self.file, self.opsets = file, list(opsets)
        self.producers = {name: node for node in file.nodes for name in node.outputs if name}
        self.known: dict[str, np.ndarray | None] = {}
        self.origins: dict[str, set[str]] = {}
        self.failed: dict[str, str] = {}

    def could_be_weight(self, name: str) -> bool:
        """Whether a stored tensor has the shape and type of a weight."""
        tensor = self.file.stored[name]
        kind = tensor.data_type if hasattr(tensor, "data_type") else 1
        return looks_like_weight(tuple(tensor.dims)) and kind not in (7, 8, 9)  # type: ignore[attr-defined]

    def value(self, name: str) -> np.ndarray | None:
        """The tensor ``name``, or None if it depends on the inputs of the graph."""
        pending = [name]
        while pending:  # no recursion: a constant may lie at the end of a long chain
            current = pending[-1]
            node = self.producers.get(current)
            if current in self.known:
                pending.pop()
            elif current in self.file.stored:
                self._decode(current)
            elif node is None or any(a.HasField("g") for a in node.proto.attribute):  # type: ignore
                self.known[current] = None
            else:
                inputs = [i for i in node.inputs if i]
                missing = [i for i in inputs if i not in self.known]
                circular = any(i in pending for i in missing)
                if circular or any(self.known.get(i, True) is None for i in inputs):
                    self.known.update(dict.fromkeys((o for o in node.outputs if o), None))
                elif missing:
                    pending.append(missing[0])
                else:
                    self._compute(node)
        return self.known[name]

    def _decode(self, name: str) -> None:
        tensor = self.file.stored[name]
        self.origins[name] = {name}
        try:
            sparse = not hasattr(tensor, "data_type")
            self.known[name] = tensors.decode_sparse(tensor) if sparse else tensors.decode(tensor)
        except TwoFourError as error:
            self.known[name] = None
            self.failed[name] = str(error)

    def _compute(self, node: _Node) -> None:
        given = {i: value for i in node.inputs if i and (value := self.known[i]) is not None}
        names = [name for name in node.outputs if name]
        results: list[np.ndarray | None]
        try:
            if node.kind.endswith("DequantizeLinear"):
                results = [_dequantised(node, *given.values())]
            elif node.kind.endswith("QuantizeLinear"):
                results = [_quantised(node, self._output_type(node), *given.values())]
            else:
                results = self._evaluate(node, given)
        except Exception as error:  # an operator that the evaluator lacks raises almost anything
            results = [None] * len(names)
            reason = f"its result cannot be computed here: {telling(error)}"
            self.failed.update(dict.fromkeys(names, reason))
        self.known.update(zip(names, results))
        made_from = set().union(*(self.origins.get(i, set()) for i in given))
        self.origins.update(dict.fromkeys(names, made_from))

    def _output_type(self, node: _Node) -> int:
        """The ONNX type that a QuantizeLinear rounds to."""
        if len(node.inputs) > 2 and node.inputs[2] in self.file.stored:
            return self.file.stored[node.inputs[2]].data_type  # type: ignore[attr-defined]
        if "FP8" in node.kind:
            return tensors.FLOAT8
        return node.attribute("output_dtype", 2)

    def _evaluate(self, node: _Node, given: Mapping[str, np.ndarray]) -> list:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        if node.domain not in ("", "ai.onnx"):
            raise TwoFourError("the operator is not one of ONNX's own")
        if node.kind == "Cast" and (kind := node.attribute("to", 1)) >= 16:
            (value,) = given.values()
            return [tensors.round_to(value.astype(np.float32), kind)]
        values = {f"i{number}": array for number, array in enumerate(given.values())}
        renamed = dict(zip(given, values))
        alone = type(node.proto)()
        alone.CopyFrom(node.proto)  # type: ignore[attr-defined]
        alone.input[:] = [renamed.get(i, "") for i in node.inputs]  # type: ignore[attr-defined]
        outputs = [f"o{number}" if o else "" for number, o in enumerate(node.outputs)]
        alone.output[:] = outputs  # type: ignore[attr-defined]
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in values.items()
        ]
        ends = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
        graph = helper.make_graph([alone], "constant", inputs, ends)
        own = [entry for entry in self.opsets if entry.domain in ("", "ai.onnx")]
        model = helper.make_model(graph, opset_imports=own)
        return ReferenceEvaluator(model).run(None, values)


def _along(node: _Node, values: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A scale or zero point in the shape that goes with ``values``.

    One for all, one along an axis, or one for each block of that axis.
    """
    axis, block = node.attribute("axis", 1), node.attribute("block_size", 0)
    if block:
        return np.repeat(vector, block, axis=axis).take(range(values.shape[axis]), axis=axis)
    if vector.ndim == values.ndim and vector.ndim > 1:
        return vector
    shape = [1] * values.ndim
    if vector.size > 1:
        shape[axis] = -1
    return vector.reshape(shape)


def _dequantised(
    node: _Node, values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None
) -> np.ndarray:
    """(values - zero) · scale."""
    shift = 0 if zero is None else _along(node, values, zero).astype(np.float32)
    return (values.astype(np.float32) - shift) * _along(node, values, scale).astype(np.float32)


def _quantised(
    node: _Node, kind: int, values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None
) -> np.ndarray:
    """values / scale + zero, rounded to what the ONNX type ``kind`` has."""
    scaled = values.astype(np.float32) / _along(node, values, scale).astype(np.float32)
    shift = 0 if zero is None else _along(node, values, zero).astype(np.float32)
    if kind in tensors.INTEGERS:
        return tensors.round_to(np.rint(scaled) + shift, kind)
    return tensors.round_to(scaled + shift, kind)
