"""An ONNX graph with what is read off it again and again, and the order of its operators.

Of the plain kind that :mod:`..deploy.export` writes: one graph, weights as initializers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import atomic

WEIGHTED = ("Conv", "Gemm", "MatMul")
Q, DQ = "QuantizeLinear", "DequantizeLinear"


class Graph:
    """The graph of ``model``, which it changes: operators, stored tensors, who makes what."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.proto = model.graph
        self.refresh()

    def refresh(self) -> None:
        """Read everything off the graph again, after operators were changed."""
        self.stored = {tensor.name: tensor for tensor in self.proto.initializer}
        self.makers = {name: node for node in self.proto.node for name in node.output if name}
        self.readers: dict[str, list[Any]] = {}
        for node in self.proto.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    @property
    def images(self) -> str:
        """The name of its input."""
        return str(self.proto.input[0].name)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of an image that it takes, without the batch: [C, H, W]."""
        dimensions = self.proto.input[0].type.tensor_type.shape.dim
        return tuple(int(dimension.dim_value) for dimension in dimensions[1:])

    def array(self, name: str) -> np.ndarray:
        """A stored tensor."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.stored[name])

    def store(self, name: str, values: np.ndarray) -> None:
        """Store ``values`` under ``name``, instead of what has this name."""
        from onnx import numpy_helper

        self.put(numpy_helper.from_array(np.array(values, order="C"), name))

    def put(self, tensor: Any) -> None:
        """Store an ONNX tensor under its name, instead of what has this name."""
        if tensor.name not in self.stored:
            self.stored[tensor.name] = self.proto.initializer.add()
        self.stored[tensor.name].CopyFrom(tensor)

    def drop(self, names: Iterable[str]) -> None:
        """Forget stored tensors."""
        gone = set(names)
        kept = [tensor for tensor in self.proto.initializer if tensor.name not in gone]
        del self.proto.initializer[:]
        self.proto.initializer.extend(kept)

    def maker(self, name: str) -> str:
        """The kind of operator that makes the tensor ``name``; "" for inputs and stored ones."""
        return str(self.makers[name].op_type) if name in self.makers else ""

    def set_nodes(self, nodes: Iterable[Any]) -> None:
        """Replace all operators by ``nodes``, each after those whose results it reads.

        Otherwise they keep their order, so that equal graphs give equal files.
        """
        ready = {i.name for i in self.proto.input} | {t.name for t in self.proto.initializer} | {""}
        waiting = [type(node).FromString(node.SerializeToString()) for node in nodes]
        ordered: list[Any] = []
        while waiting:
            later = []
            for node in waiting:
                if all(name in ready for name in node.input):
                    ordered.append(node)
                    ready.update(node.output)
                else:
                    later.append(node)
            if len(later) == len(waiting):
                missing = next(name for name in later[0].input if name not in ready)
                raise TwoFourError(f"nothing makes {missing}, which {later[0].name} reads")
            waiting = later
        del self.proto.node[:]
        self.proto.node.extend(ordered)
        self.refresh()


def load(path: Path) -> Graph:
    """The graph in the ONNX file ``path``; TwoFourError if it cannot be read."""
    import onnx

    try:
        return Graph(onnx.load(str(path)))
    except Exception as error:  # a damaged file raises almost anything
        raise TwoFourError(f"cannot read {path}: {error}") from error


def content(graph: Graph) -> bytes:
    """The file of a graph, the same bytes for the same graph; checked for being valid ONNX.

    (As far as the installed onnx knows its operators: bf16 has them from opset 22 on.)
    """
    import onnx

    opsets = [opset.version for opset in graph.model.opset_import]
    if max(opsets) <= onnx.defs.onnx_opset_version():
        onnx.checker.check_model(graph.model, full_check=True)
    return bytes(graph.model.SerializeToString(deterministic=True))


def write(path: Path, graph: Graph) -> None:
    """Write the graph as an ONNX file."""
    found = content(graph)
    with atomic(path, len(found)) as temporary:
        temporary.write_bytes(found)


def axis(node: Any) -> int:
    """The axis of the output channels in a layer's weight: 0 of a convolution, 1 of a matrix."""
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or turned else 1


def scale_axis(node: Any) -> int:
    """The axis along which a Q or DQ has its scales."""
    return int(next((a.i for a in node.attribute if a.name == "axis"), 1))


def along(vector: np.ndarray, dimensions: int, axis: int) -> np.ndarray:
    """A vector in the shape in which it goes along ``axis`` of an array with ``dimensions``."""
    shape = [1] * dimensions
    shape[axis] = -1
    return vector.reshape(shape)
