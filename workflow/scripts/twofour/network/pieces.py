"""A network in inference as a chain of pieces: the stem, each residual block, the classifier.

Each piece is an ONNX graph that ONNX Runtime computes on the CPU, with batch norm folded into its
weights. Where one weight changes, only its piece is made anew, and what comes before it need not be
computed again. :func:`whole` makes one graph of them, without PaddlePaddle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import architecture
from .architecture import (
    CLASSIFIER,
    CLASSIFIER_BIAS,
    IMAGES,
    NORM_EPSILON,
    NORM_PARTS,
    PROBABILITIES,
    Architecture,
    Block,
    Conv,
)
from .settings import Model

OPSET, IR_VERSION = 13, 8
_IN, _OUT = "x", "y"

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Piece:
    """``name`` as in those of its weights: "stem", "layer1.0", "classifier"."""

    name: str
    weights: tuple[str, ...]
    conv: Conv | None = None
    block: Block | None = None


def split(network: Architecture) -> list[Piece]:
    """The pieces of ``network``, from the images to the logits."""
    pieces = [Piece("stem", (network.stem.weight,), conv=network.stem)]
    for block in network.blocks:
        convs = (*block.convs, *([block.shortcut] if block.shortcut else []))
        name = block.convs[0].name.rpartition(".")[0]
        pieces.append(Piece(name, tuple(conv.weight for conv in convs), block=block))
    return [*pieces, Piece("classifier", (CLASSIFIER,))]


def multiplications(network: Architecture, size: int) -> dict[str, int]:
    """{weight: multiply-accumulate operations for an image of ``size`` × ``size`` pixels}."""
    found, side = {}, -(-size // network.stem.stride)
    found[network.stem.weight] = int(np.prod(network.stem.shape)) * side**2
    side = -(-side // 2)  # the pooling
    for block in network.blocks:
        inside = side
        for conv in block.convs:
            inside = -(-inside // conv.stride)
            found[conv.weight] = int(np.prod(conv.shape)) * inside**2
        if block.shortcut:
            found[block.shortcut.weight] = int(np.prod(block.shortcut.shape)) * inside**2
        side = inside
    found[CLASSIFIER] = network.features * network.classes
    return found


def relative_work(model: Model, others: Mapping[str, Model], size: int) -> dict[str, float]:
    """{name: how many times the multiplications of ``model``'s network another one takes}."""

    def total(section: Model) -> int:  # the number of classes hardly matters
        return sum(multiplications(architecture.resnet(section, classes=2), size).values())

    return {name: total(other) / total(model) for name, other in others.items()}


def input_norms(
    network: Architecture, state: State, batches: Iterable[np.ndarray], threads: int
) -> dict[str, np.ndarray]:
    """{weight: Euclidean norm of each of its input channels [in] float32}.

    Over all images of the ``batches`` ([n, C, H, W], normalised) and all positions, in inference.
    """
    chain = [runner(piece, state, threads, squares=True) for piece in split(network)]
    sums: dict[str, Any] = {}
    for x in batches:
        for run in chain:
            x, found = run(x)
            for name, squares in found.items():
                sums[name] = sums.get(name, 0) + squares.astype(np.float64)
    return {name: np.sqrt(total).astype(np.float32) for name, total in sums.items()}


def runner(piece: Piece, state: State, threads: int, squares: bool = False):
    """A function that computes ``piece`` with the weights in ``state``.

    It maps the piece's input (images [N, C, H, W] or activations, float32) to its output, which
    for the classifier is the logits [N, classes]. With ``squares`` it returns (output, {weight:
    sum of squares of its input over images and positions, for each input channel [C]}).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # each session would keep the memory of its activations
    content = _model(piece, state, squares).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(x: np.ndarray):
        y, *sums = session.run(None, {_IN: x})
        return (y, dict(zip(piece.weights, sums))) if squares else y

    return run


def whole(network: Architecture, state: State, size: int) -> Any:
    """The ONNX model of ``network``: images [N, C, size, size] to probabilities [N, classes].

    As it is deployed: batch norm folded, layers named as their weights, input and output as in an
    exported model.
    """
    from onnx import TensorProto, helper

    graph, x = _Graph(state), IMAGES
    for piece in split(network):
        x = _add(graph, piece, x)
    graph.add("Softmax", [x], PROBABILITIES, axis=1)
    value = helper.make_tensor_value_info
    shape = ["N", network.input_channels, size, size]
    images = value(IMAGES, TensorProto.FLOAT, shape)
    result = value(PROBABILITIES, TensorProto.FLOAT, ["N", network.classes])
    return _made(graph, network.name, images, [result])


def _model(piece: Piece, state: State, squares: bool):
    from onnx import TensorProto, helper

    graph = _Graph(state)
    _add(graph, piece, _IN, _OUT)
    outputs = [_OUT]
    if squares:
        for name in piece.weights:
            axes = [0] if name == CLASSIFIER else [0, 2, 3]
            outputs.append(graph.add("ReduceSumSquare", [graph.reads[name]], axes=axes, keepdims=0))
    value = helper.make_tensor_value_info
    images = value(_IN, TensorProto.FLOAT, ["n", "c", "h", "w"])
    return _made(graph, piece.name, images, [value(n, TensorProto.FLOAT, None) for n in outputs])


def _made(graph: _Graph, name: str, images: Any, outputs: list[Any]):
    from onnx import helper

    made = helper.make_graph(graph.nodes, name, [images], outputs, graph.constants)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION)


def _add(graph: _Graph, piece: Piece, x: str, output: str = "") -> str:
    """Add the nodes of ``piece``, which reads ``x``; the name of what it computes."""
    if piece.conv:
        y = graph.conv(piece.conv, x, relu=True)
        return graph.add("MaxPool", [y], output, **_window(3, 2))
    if piece.block:
        return _add_block(graph, piece.block, x, output)
    pooled = graph.add("Flatten", [graph.add("GlobalAveragePool", [x])], axis=1)
    graph.reads[CLASSIFIER] = pooled
    weight, bias = (graph.constant(n, graph.state[n]) for n in (CLASSIFIER, CLASSIFIER_BIAS))
    return graph.add("Add", [graph.add("MatMul", [pooled, weight], name=piece.name), bias], output)


def _add_block(graph: _Graph, block: Block, x: str, output: str) -> str:
    y = x
    for conv in block.convs[:-1]:
        y = graph.conv(conv, y, relu=True)
    y = graph.conv(block.convs[-1], y)
    beside = graph.conv(block.shortcut, x) if block.shortcut else x
    return graph.add("Relu", [graph.add("Add", [y, beside])], output)


class _Graph:
    """Nodes and constants of an ONNX graph, and what each weight ``reads``."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.reads: dict[str, str] = {}

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes) -> str:
        from onnx import helper

        output = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv(self, conv: Conv, x: str, relu: bool = False) -> str:
        """A convolution with its batch norm folded in (which leaves zeros where they are)."""
        self.reads[conv.weight] = x
        scale, shift, mean, variance = (self.state[f"{conv.norm}.{p}"] for p in NORM_PARTS)
        factor = (scale / np.sqrt(variance + NORM_EPSILON)).astype(np.float32)
        weight = self.constant(conv.weight, self.state[conv.weight] * factor[:, None, None, None])
        bias = self.constant(f"{conv.name}.bias", (shift - mean * factor).astype(np.float32))
        window = _window(conv.kernel, conv.stride)
        y = self.add("Conv", [x, weight, bias], name=conv.name, **window)
        return self.add("Relu", [y]) if relu else y


def _window(kernel: int, stride: int) -> dict:
    padding = (kernel - 1) // 2
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
