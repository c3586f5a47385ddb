"""Which tensors of a network become integers.

TensorRT fuses Q/DQ pairs into kernels by their position ("Q/DQ Layer-Placement Recommendations" in
its documentation): pairs belong on the inputs of convolutions, and of a residual addition only on
the branch that the last convolution does not absorb. ONNX Runtime and others round outputs instead
(:mod:`.forms`).

The classifier is quantised as well (NVIDIA's ModelOpt leaves it in floating point): its weights are
8 % of ResNet50's, and the accuracy does not suffer. The global pool is not (ModelOpt's is): a mean
of 49 values is more exact in floating point, and takes next to no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..system import patterns
from .onnx_graph import WEIGHTED, Graph


@dataclass(frozen=True)
class Placement:
    """The ``layers`` that compute with integers, and which of their ``inputs`` are rounded.

    ``sides`` are (residual addition, index of its input that is rounded).
    """

    layers: list[Any]
    inputs: list[str]
    sides: list[tuple[Any, int]]

    @property
    def tensors(self) -> list[str]:
        """All activations that need a scale, each once."""
        return list(dict.fromkeys([*self.inputs, *(add.input[i] for add, i in self.sides)]))


def layers(graph: Graph) -> list[Any]:
    """All operators of a graph with a stored weight."""
    return [n for n in graph.proto.node if n.op_type in WEIGHTED and n.input[1] in graph.stored]


def place(graph: Graph, exclude: Iterable[str] = ()) -> Placement:
    """Where a graph with folded batch norms gets its Q/DQ pairs.

    A layer whose weight a pattern of ``exclude`` matches stays as it is.
    """
    chosen = [n for n in layers(graph) if not patterns.first_match(n.input[1], exclude)]
    absorbing = {n.output[0] for n in chosen if n.op_type == "Conv"}
    sides = []
    for add in residual_additions(graph):
        index = side(graph, add)
        if add.input[1 - index] in absorbing:
            sides.append((add, index))
    return Placement(chosen, [n.input[0] for n in chosen], sides)


def residual_additions(graph: Graph) -> list[Any]:
    """Additions of two activations."""
    return [
        node
        for node in graph.proto.node
        if node.op_type == "Add" and not any(name in graph.stored for name in node.input)
    ]


def side(graph: Graph, add: Any) -> int:
    """Which input of a residual addition is its identity or shortcut, not the block's last layer.

    It is the one with fewer operators before it.
    """
    depths: dict[str, int] = {}
    for node in graph.proto.node:  # each after those that it reads
        depth = 1 + max(depths.get(name, 0) for name in node.input)
        depths.update(dict.fromkeys(node.output, depth))
    first, second = (depths.get(name, 0) for name in add.input)
    return int(second < first)


def ends(graph: Graph) -> list[str]:
    """Activations that one engine or another rounds: the ends of what it computes in one go.

    They are the output of each convolution, addition and pool, or of the ReLU behind it, and the
    images.
    """
    kinds = ("Conv", "MaxPool", "GlobalAveragePool", "Reshape", "Flatten")
    sums = [node.name for node in residual_additions(graph)]
    made = [n for n in graph.proto.node if n.op_type in kinds or n.name in sums]
    return [graph.images, *(behind(graph, node.output[0]) for node in made)]


def behind(graph: Graph, name: str) -> str:
    """The output of the ReLU that alone reads the tensor ``name``, or ``name`` itself."""
    readers = graph.readers.get(name, [])
    if len(readers) == 1 and readers[0].op_type == "Relu":
        return str(readers[0].output[0])
    return name


def never_negative(graph: Graph) -> set[str]:
    """Tensors without negative values: what ReLU makes, and pooling and reshaping of that."""
    found: set[str] = set()
    for node in graph.proto.node:
        passes_on = node.op_type in ("MaxPool", "GlobalAveragePool", "Reshape", "Flatten")
        if node.op_type == "Relu" or (passes_on and node.input[0] in found):
            found.update(node.output)
    return found
