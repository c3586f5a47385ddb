"""Reading the layers of model files, ours or others', and judging whether they are 2:4 sparse.

Nothing here knows about masks or how a network was pruned: it goes by the numbers in the file and
by what its operators do with them. Quantised weights count as zero where they equal their zero
point. Operators inside control flow (If, Loop) are not examined.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..network import weights
from ..system import patterns
from ..system.errors import TwoFourError
from ..system.files import read_json
from ..system.libraries import import_paddle
from . import layers as chosen_layers
from . import pattern

# operator: which input is the weight, which its zero point (if any), and where the input channels
# are: an axis, counted from the front for convolutions, from the back for matrices
_ONNX_OPERATORS: dict[str, list[tuple[int, int | None, int]]] = {
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
_PADDLE_OPERATORS: dict[str, list[tuple[str, int]]] = {
    "conv2d": [("Filter", 1)],
    "depthwise_conv2d": [("Filter", 1)],
    "conv3d": [("Filter", 1)],
    "fused_conv2d": [("Filter", 1)],
    "fused_conv2d_add_act": [("Filter", 1)],
    "conv2d_fusion": [("Filter", 1)],
    "conv2d_transpose": [("Filter", 0)],
    "depthwise_conv2d_transpose": [("Filter", 0)],
    "fc": [("W", -2)],
    "mul": [("Y", -2), ("X", -1)],
    "matmul": [("Y", -2), ("X", -1)],
    "matmul_v2": [("Y", -2), ("X", -1)],
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
class Contents:
    """The layers of a file, and the names of other constants that no known operator reads."""

    layers: list[Layer]
    others: list[str]


@dataclass(frozen=True)
class Verdict:
    """The findings for a layer: its ``groups`` of 4 neighbours, and how many are ``broken``."""

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
        """The verdict in words."""
        if self.eligible and self.broken == 0:
            return "2:4"
        if self.required and self.eligible:
            return f"BREAKS 2:4 in {self.broken} of {self.groups} groups"
        if self.required:
            return "CANNOT be 2:4"
        return "need not be 2:4" if self.eligible else "not eligible"


@dataclass(frozen=True)
class Outcome:
    """The findings for a file: a verdict for each layer, and what no known operator reads."""

    path: str
    verdicts: list[Verdict]
    others: list[str]


def judge(path: str, listed: list[str] | None, exclude: list[str]) -> Outcome:
    """Judge the layers of the file ``path``.

    Those ``listed`` must be 2:4 sparse, by default all that can be, except those that a pattern of
    ``exclude`` matches. Raises TwoFourError if the file lacks one of them, or a pattern matches
    nothing.
    """
    contents = read(path)
    names = [layer.name for layer in contents.layers]
    for name in listed or ():
        if name not in names:
            raise TwoFourError(f"{path} has no weight {name}, which should be 2:4 sparse")
    patterns.require(exclude, names, "--exclude", path)
    candidates = listed
    if candidates is None:
        candidates = [v.name for v in check(contents.layers) if v.required]
    required = [n for n in candidates if not patterns.first_match(n, exclude)]
    return Outcome(path, check(contents.layers, required), contents.others)


def listed(path: str) -> list[str]:
    """The weights that the sparsity.json at ``path`` calls sparse."""
    report = read_json(path)
    try:
        return chosen_layers.chosen(chosen_layers.choices(report))
    except (KeyError, TypeError) as error:
        raise TwoFourError(f"{path} is not a sparsity.json") from error


def table(outcome: Outcome) -> str:
    """The verdicts on a file as text, one line each."""
    rows = [("layer", "operator", "shape", "eligible", "density", "verdict")]
    for v in outcome.verdicts:
        shape = "×".join(map(str, v.shape))
        yes = "yes" if v.eligible else "no"
        rows.append((v.name, v.operator, shape, yes, f"{v.density:.3f}", v.words))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([outcome.path, *(f"  {line}" for line in lines)])


def summary(outcome: Outcome) -> str:
    """One sentence on a file."""
    required = sum(v.required for v in outcome.verdicts)
    holding = sum(v.required and v.passed for v in outcome.verdicts)
    return (
        f"{outcome.path}: {required} of {len(outcome.verdicts)} layers must be 2:4 sparse, and "
        f"{holding} of them are"
    )


def record(outcome: Outcome) -> dict:
    """What check.json holds for a file."""
    rows = [{**asdict(v), "passed": v.passed} for v in outcome.verdicts]
    return {"file": outcome.path, "layers": rows, "not_checked": outcome.others}


def check(layers: Iterable[Layer], required: Iterable[str] | None = None) -> list[Verdict]:
    """Judge ``layers``; those named ``required`` must be 2:4 sparse, by default all eligible ones.

    Eligible is a layer whose input channels fall into whole groups of 4.
    """
    names = None if required is None else set(required)
    verdicts = []
    for layer in layers:
        rows = pattern.groups(layer.weight, layer.axis)
        eligible = layer.weight.shape[layer.axis] % pattern.GROUP == 0
        verdicts.append(
            Verdict(
                name=layer.name,
                operator=layer.operator,
                shape=layer.weight.shape,
                eligible=eligible,
                density=np.count_nonzero(layer.weight) / max(layer.weight.size, 1),
                groups=len(rows),
                broken=int((np.count_nonzero(rows, axis=1) > pattern.KEPT).sum()),
                required=eligible if names is None else layer.name in names,
            )
        )
    return verdicts


def read(path: str | Path) -> Contents:
    """The layers of a model file; TwoFourError if it cannot be read or holds none.

    Takes ``.pdparams`` (where the shape tells the kind of layer: 2 dimensions [in, out] are linear,
    3 to 5 a convolution [out, in, …]), ``.onnx``, and Paddle inference models.
    """
    path = Path(path)
    if not path.exists():
        raise TwoFourError(f"{path} does not exist")
    if path.is_dir():
        found = sorted(path.glob("*.pdmodel"))
        if len(found) != 1:
            known = sorted(p.name for p in path.iterdir() if p.suffix in (".onnx", ".pdparams"))
            what = ", ".join([*(p.name for p in found), *known]) or "no model"
            raise TwoFourError(f"{path} is a folder with {what}; name the file that you mean")
        path = found[0]
    if path.suffix == ".pdiparams":
        path = path.with_suffix(".pdmodel")
    if path.is_file() and path.stat().st_size == 0:
        raise TwoFourError(f"{path} is empty")
    if path.suffix == ".pdparams":
        contents = _read_pdparams(path)
    elif path.suffix == ".onnx":
        contents = _read_onnx(path)
    elif path.suffix == ".pdmodel":
        contents = _read_paddle(path)
    else:
        raise TwoFourError(f"{path} is not a kind of file that can be checked: {KINDS}")
    if not contents.layers:
        raise TwoFourError(f"{path} holds no convolution and no linear layer with fixed weights")
    return contents


def _read_pdparams(path: Path) -> Contents:
    layers = []
    for name, weight in weights.load(path).items():
        if name.endswith("asp_mask"):  # paddle.incubate.asp keeps its masks beside the weights
            continue
        if weight.ndim == 2:
            layers.append(Layer(name, "linear", weight, 0))
        elif 3 <= weight.ndim <= 5:
            layers.append(Layer(name, "conv", weight, 1))
    return Contents(layers, [])


def _read_paddle(path: Path) -> Contents:
    import_paddle()
    import paddle

    _require_program(path)
    if not path.with_suffix(".pdiparams").is_file():
        raise TwoFourError(f"{path.with_suffix('.pdiparams')}, the weights of {path}, is missing")
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    scope = paddle.static.Scope()
    try:
        with paddle.static.scope_guard(scope):
            program, _, _ = paddle.static.load_inference_model(str(path.with_suffix("")), executor)
    except Exception as error:  # a damaged file raises almost anything
        text = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise TwoFourError(f"cannot read {path} with its .pdiparams: {text}") from error
    tensors = {
        v.name: np.array(scope.find_var(v.name).get_tensor())
        for v in program.list_vars()
        if v.persistable and v.name not in ("feed", "fetch")
    }
    origin = {name: name for name in tensors}  # the tensor that each was made from
    layers: dict[tuple, Layer] = {}
    judged = set()
    for op in program.global_block().ops:
        _follow_paddle(op, tensors, origin)
        for slot, axis in _PADDLE_OPERATORS.get(op.type, []):
            if slot not in op.input_names or not op.input(slot):
                continue
            name = op.input(slot)[0]
            weight = tensors.get(name)
            if weight is None or weight.ndim < 2:
                continue
            letter = slot.lower()
            flags = (f"trans_{letter}", f"transpose_{slot}")
            if slot in "XY" and any(op.has_attr(f) and op.attr(f) for f in flags):
                axis = -3 - axis  # swaps -1 and -2
            count = op.attr("groups") if op.has_attr("groups") else 1
            _add(layers, name, op.type, weight, axis, count)
            judged.add(origin[name])
    return Contents(list(layers.values()), _unjudged(tensors, set(origin.values()) - judged))


def _follow_paddle(op, tensors: dict[str, np.ndarray], origin: dict[str, str]) -> None:
    """Compute the output of ``op`` if it transposes, reshapes or casts a constant tensor."""
    if op.type not in ("transpose2", "reshape2", "cast") or op.input("X")[0] not in tensors:
        return
    source, target = op.input("X")[0], op.output("Out")[0]
    value = tensors[source]
    if op.type == "transpose2":
        value = value.transpose(op.attr("axis"))
    elif op.type == "reshape2":
        value = value.reshape(op.attr("shape"))
    tensors[target], origin[target] = value, origin[source]


def _add(layers: dict, name: str, operator: str, weight: np.ndarray, axis: int, groups: int):
    """Add a layer; a weight that is read along two axes counts as two layers."""
    axis %= weight.ndim
    if axis == 0 and weight.ndim > 2 and groups > 1:  # a transposed convolution in groups
        weight = weight.reshape(groups, -1, *weight.shape[1:])
        axis = 1
    layers.setdefault((name, axis), Layer(name, operator, weight, axis))


def _unjudged(tensors: dict[str, np.ndarray], names: Iterable[str]) -> list[str]:
    """Those of ``names`` that look like weights: at least two dimensions that are not 1."""
    return sorted(n for n in names if sum(size > 1 for size in tensors[n].shape) >= 2)


def _require_program(path: Path) -> None:
    """Raise TwoFourError if the file is not a Paddle program; loading some such files crashes."""
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2

    found = framework_pb2.ProgramDesc()
    try:
        found.ParseFromString(path.read_bytes())
    except OSError as error:
        raise TwoFourError(f"cannot read {path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise TwoFourError(f"cannot read {path}: it is not a Paddle program") from error
    if not found.blocks:
        raise TwoFourError(f"cannot read {path}: it is not a Paddle program")


def _read_onnx(path: Path) -> Contents:
    import onnx
    from onnx import inliner

    try:
        model = onnx.load(str(path))
        if model.functions:
            model = inliner.inline_local_functions(model)
    except Exception as error:  # a damaged file raises almost anything
        text = str(error).strip() or type(error).__name__
        raise TwoFourError(f"cannot read {path}: {text.splitlines()[0]}") from error
    if not model.graph.node:
        raise TwoFourError(f"cannot read {path}: it is not an ONNX model, or has no operators")
    constants = _Constants(model)
    layers: dict[tuple, Layer] = {}
    for node in model.graph.node:
        for index, zero_index, axis in _ONNX_OPERATORS.get(node.op_type, []):
            name = node.input[index] if len(node.input) > index else ""
            weight = constants.value(name) if name else None
            if weight is None or weight.ndim < 2:
                continue
            if zero_index is not None and len(node.input) > zero_index and node.input[zero_index]:
                zero = constants.value(node.input[zero_index])
                if zero is not None:
                    weight = _shifted(weight, zero, 0 if axis == 1 else -1)
            flag = "transA" if index == 0 else "transB"
            if any(a.name == flag and a.i for a in node.attribute):
                axis = -3 - axis  # swaps -1 and -2
            count = next((a.i for a in node.attribute if a.name == "group"), 1)
            _add(layers, name, node.op_type, weight, axis, count)
    left = set(constants.initializers) - constants.asked
    arrays = {name: constants.to_array(constants.initializers[name]) for name in left}
    return Contents(list(layers.values()), _unjudged(arrays, left))


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
    """Values of an ONNX graph that do not depend on its inputs, computed on demand.

    Exporters put weights behind Constant, Identity, Transpose, Cast or DequantizeLinear nodes.
    ``asked`` collects the initializers that the requested values depend on.
    """

    def __init__(self, model) -> None:
        from onnx import numpy_helper

        self.model = model
        self.to_array = numpy_helper.to_array
        self.initializers = {t.name: t for t in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}
        self.known: dict[str, np.ndarray | None] = {}
        self.asked: set[str] = set()

    def value(self, name: str) -> np.ndarray | None:
        """The tensor ``name``, or None if it depends on the inputs of the graph."""
        pending = [name]
        while pending:  # no recursion: a constant may be at the end of a long chain
            current = pending[-1]
            node = self.producers.get(current)
            if current in self.known:
                pending.pop()
            elif current in self.initializers:
                self.known[current] = self.to_array(self.initializers[current])
                self.asked.add(current)
            elif node is None or any(a.HasField("g") for a in node.attribute):
                self.known[current] = None
            else:
                inputs = [i for i in node.input if i]
                missing = [i for i in inputs if i not in self.known]
                circular = any(i in pending for i in missing)
                if circular or any(self.known.get(i, True) is None for i in inputs):
                    self.known[current] = None
                elif missing:
                    pending.append(missing[0])
                else:
                    self._compute(node)
        return self.known[name]

    def _compute(self, node) -> None:
        given = {i: value for i in node.input if i and (value := self.known[i]) is not None}
        results: list[np.ndarray | None]
        try:
            if node.op_type == "DequantizeLinear":  # the evaluator lacks those of older opsets
                results = [_dequantised(node, *given.values())]
            else:
                results = self._evaluate(node, given)
        except Exception:  # an unsupported operator: its output does not count as a constant
            results = [None] * len(node.output)
        self.known.update(zip((name for name in node.output if name), results))

    def _evaluate(self, node, given: dict[str, np.ndarray]) -> list:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        inputs = [
            helper.make_tensor_value_info(
                i, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for i, value in given.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = helper.make_graph([node], "constant", inputs, outputs)
        alone = helper.make_model(graph, opset_imports=list(self.model.opset_import))
        return ReferenceEvaluator(alone).run(None, given)


def _dequantised(node, values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None):
    """(values - zero) · scale, with one of each per tensor, per index of an axis or per block."""
    attributes = {a.name: int(a.i) for a in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)

    def along(vector: np.ndarray) -> np.ndarray:
        if block:
            return np.repeat(vector, block, axis=axis).take(range(values.shape[axis]), axis=axis)
        shape = [1] * values.ndim
        if vector.size > 1:
            shape[axis] = -1
        return vector.reshape(shape)

    shift = 0 if zero is None else along(zero).astype(np.float32)
    return (values.astype(np.float32) - shift) * along(scale).astype(np.float32)
