"""Reading the layers of model files, ours or anyone's, and judging whether they are 2:4 sparse.

Nothing here knows of masks or of how a network was pruned: it goes by the numbers in the file and
by what its operators do with them. Quantised weights count as zero where they equal their zero
point. Operators inside of control flow (If, Loop) are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import sparsity, weights
from .errors import TwoFourError

# operator: which input is the weight, which its zero point (if any), and where the input channels
# are: an axis, counted from the front for convolutions, from the back for matrices
_ONNX_OPERATORS = {
    "Conv": (1, None, 1),
    "FusedConv": (1, None, 1),
    "ConvTranspose": (1, None, 0),
    "ConvInteger": (1, 3, 1),
    "QLinearConv": (3, 5, 1),
    "Gemm": (1, None, -2),
    "FusedGemm": (1, None, -2),
    "MatMul": (1, None, -2),
    "MatMulInteger": (1, 3, -2),
    "QLinearMatMul": (3, 5, -2),
}
_PADDLE_OPERATORS = {
    "conv2d": ("Filter", 1),
    "depthwise_conv2d": ("Filter", 1),
    "conv3d": ("Filter", 1),
    "fused_conv2d": ("Filter", 1),
    "fused_conv2d_add_act": ("Filter", 1),
    "conv2d_fusion": ("Filter", 1),
    "conv2d_transpose": ("Filter", 0),
    "fc": ("W", -2),
    "mul": ("Y", -2),
    "matmul": ("Y", -2),
    "matmul_v2": ("Y", -2),
}
KINDS = ".pdparams, .onnx, .pdmodel, or a folder with an exported Paddle model"


@dataclass(frozen=True)
class Layer:
    """A weight and the axis of its input channels, along which 2:4 runs."""

    name: str
    operator: str
    weight: np.ndarray
    axis: int


@dataclass(frozen=True)
class Verdict:
    """What was found of a layer: its ``groups`` of 4 neighbours, and how many are ``broken``."""

    name: str
    operator: str
    shape: tuple[int, ...]
    eligible: bool
    density: float
    groups: int
    broken: int
    required: bool

    @property
    def passed(self) -> bool:
        """Whether the layer is as sparse as it has to be."""
        return not self.required or (self.eligible and self.broken == 0)

    @property
    def words(self) -> str:
        """The verdict for people."""
        if self.eligible and self.broken == 0:
            return "2:4"
        if self.required and self.eligible:
            return f"BREAKS 2:4 in {self.broken} of {self.groups} groups"
        if self.required:
            return "CANNOT be 2:4"
        return "need not be 2:4" if self.eligible else "not eligible"


def check(layers: Iterable[Layer], required: Iterable[str] | None = None) -> list[Verdict]:
    """Judge ``layers``; those named ``required`` must be 2:4 sparse, by default all eligible ones.

    Eligible is a layer whose input channels fall into whole groups of 4.
    """
    names = None if required is None else set(required)
    verdicts = []
    for layer in layers:
        rows = sparsity.groups(layer.weight, layer.axis)
        eligible = layer.weight.shape[layer.axis] % sparsity.GROUP == 0
        verdicts.append(
            Verdict(
                name=layer.name,
                operator=layer.operator,
                shape=layer.weight.shape,
                eligible=eligible,
                density=np.count_nonzero(layer.weight) / max(layer.weight.size, 1),
                groups=len(rows),
                broken=int((np.count_nonzero(rows, axis=1) > sparsity.KEPT).sum()),
                required=eligible if names is None else layer.name in names,
            )
        )
    return verdicts


def read(path: str | Path) -> list[Layer]:
    """The layers of a model file; TwoFourError if it cannot be read or holds none.

    Takes ``.pdparams`` (layers are told by their shapes: 2 dimensions [in, out] are a linear layer,
    3 to 5 a convolution [out, in, …]), ``.onnx``, and Paddle inference models.
    """
    path = Path(path)
    if not path.exists():
        raise TwoFourError(f"{path} does not exist")
    if path.is_dir():
        found = sorted(path.glob("*.pdmodel"))
        if len(found) != 1:
            raise TwoFourError(
                f"the folder {path} holds {len(found)} .pdmodel files; name the one that is meant"
            )
        path = found[0]
    if path.suffix == ".pdparams":
        layers = _read_pdparams(path)
    elif path.suffix == ".onnx":
        layers = _read_onnx(path)
    elif path.suffix == ".pdmodel":
        layers = _read_paddle(path)
    else:
        raise TwoFourError(f"{path} is of no kind that can be checked: {KINDS}")
    if not layers:
        raise TwoFourError(f"{path} holds no convolution and no linear layer with fixed weights")
    return layers


def _read_pdparams(path: Path) -> list[Layer]:
    layers = []
    for name, weight in weights.load(path).items():
        if name.endswith("asp_mask"):  # paddle.incubate.asp keeps its masks beside the weights
            continue
        if weight.ndim == 2:
            layers.append(Layer(name, "linear", weight, 0))
        elif 3 <= weight.ndim <= 5:
            layers.append(Layer(name, "conv", weight, 1))
    return layers


def _read_paddle(path: Path) -> list[Layer]:
    import paddle

    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    scope = paddle.static.Scope()
    try:
        with paddle.static.scope_guard(scope):
            program, _, _ = paddle.static.load_inference_model(str(path.with_suffix("")), executor)
    except Exception as error:  # a damaged file raises almost anything
        text = str(error).strip() or type(error).__name__
        raise TwoFourError(
            f"cannot read {path} with its .pdiparams: {text.splitlines()[-1]}"
        ) from error
    fixed = {v.name for v in program.list_vars() if v.persistable}
    layers: dict[str, Layer] = {}
    for op in program.global_block().ops:
        slot, axis = _PADDLE_OPERATORS.get(op.type, (None, 0))
        if slot is None or not op.input(slot) or op.input(slot)[0] not in fixed:
            continue
        name = op.input(slot)[0]
        weight = np.array(scope.find_var(name).get_tensor())
        if any(op.has_attr(key) and op.attr(key) for key in ("trans_y", "transpose_Y")):
            axis = -1
        layers.setdefault(name, Layer(name, op.type, weight, axis % weight.ndim))
    return list(layers.values())


def _read_onnx(path: Path) -> list[Layer]:
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # a damaged file raises almost anything
        text = str(error).strip() or type(error).__name__
        raise TwoFourError(f"cannot read {path}: {text.splitlines()[0]}") from error
    constants = _Constants(model)
    layers: dict[str, Layer] = {}
    for node in model.graph.node:
        index, zero_index, axis = _ONNX_OPERATORS.get(node.op_type, (None, None, 0))
        if index is None or len(node.input) <= index:
            continue
        name = node.input[index]
        weight = constants.value(name)
        if weight is None or weight.ndim < 2:
            continue
        if zero_index is not None and len(node.input) > zero_index and node.input[zero_index]:
            zero = constants.value(node.input[zero_index])
            if zero is not None:
                per_output = (-1,) + (1,) * (weight.ndim - 1) if axis == 1 else (1, -1)
                zero = zero.reshape(per_output) if zero.size > 1 else zero.reshape(())
                weight = weight.astype(np.int32) - zero.astype(np.int32)
        if any(a.name == "transB" and a.i for a in node.attribute):
            axis = -1
        layers.setdefault(name, Layer(name, node.op_type, weight, axis % weight.ndim))
    return list(layers.values())


class _Constants:
    """Values of an ONNX graph that do not depend on its inputs, computed where that is needed.

    Exporters put weights behind Constant, Identity, Transpose, Cast or DequantizeLinear nodes.
    """

    def __init__(self, model) -> None:
        from onnx import numpy_helper

        self.model = model
        self.to_array = numpy_helper.to_array
        self.initializers = {t.name: t for t in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.known: dict[str, np.ndarray | None] = {}

    def value(self, name: str) -> np.ndarray | None:
        """The tensor ``name``, or None if it depends on the inputs of the graph."""
        pending = [name]
        while pending:  # no recursion: a constant may lie at the end of a long chain
            current = pending[-1]
            node = self.producers.get(current)
            if current in self.known:
                pending.pop()
            elif current in self.initializers:
                self.known[current] = self.to_array(self.initializers[current])
            elif node is None or any(a.HasField("g") for a in node.attribute):
                self.known[current] = None
            else:
                inputs = [i for i in node.input if i]
                missing = [i for i in inputs if i not in self.known]
                if any(self.known.get(i, True) is None for i in inputs):
                    self.known[current] = None
                elif missing:
                    pending.append(missing[0])
                else:
                    self._compute(node)
        return self.known[name]

    def _compute(self, node) -> None:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        given = {i: self.known[i] for i in node.input if i}
        if node.op_type == "DequantizeLinear":  # the evaluator lacks those of older opsets
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            self.known[node.output[0]] = _dequantised(*given.values(), axis=axis)
            return
        inputs = [
            helper.make_tensor_value_info(
                i, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for i, value in given.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = helper.make_graph([node], "constant", inputs, outputs)
        alone = helper.make_model(graph, opset_imports=list(self.model.opset_import))
        try:
            results = ReferenceEvaluator(alone).run(None, given)
        except Exception:  # an operator that it does not know: then it is no plain constant
            results = [None] * len(outputs)
        self.known.update(zip((name for name in node.output if name), results))


def _dequantised(
    values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int
) -> np.ndarray:
    """(values - zero) · scale, the latter two being numbers or vectors along ``axis``."""

    def along(vector: np.ndarray) -> np.ndarray:
        shape = [1] * values.ndim
        if vector.size > 1:
            shape[axis] = -1
        return vector.reshape(shape)

    shifted = values.astype(np.int32) - (0 if zero is None else along(zero).astype(np.int32))
    return shifted * along(scale).astype(np.float32)
