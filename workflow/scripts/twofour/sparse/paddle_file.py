"""The layers of PaddlePaddle's files: weights alone, and exported inference models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..network import weights
from ..system.errors import TwoFourError, telling
from ..system.libraries import import_paddle
from .contents import Contents, Layer, layer, looks_like_weight

# operator: its slot for the weight, and where the input channels are: an axis, counted from the
# front for convolutions, from the back for matrices
_OPERATORS: dict[str, list[tuple[str, int]]] = {
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
# What these read is no weight of a layer: biases, tables of embeddings, statistics.
_NO_LAYER = {
    *("elementwise_add", "elementwise_sub", "lookup_table", "lookup_table_v2", "batch_norm"),
    *("layer_norm", "instance_norm", "group_norm", "prelu", "where", "gather", "slice"),
}
_MASK = "asp_mask"  # with which paddle.incubate.asp keeps its masks beside the weights


def read_weights(path: Path) -> Contents:
    """The layers of a ``.pdparams`` file, which has no operators: its tensors, by their shapes."""
    layers = []
    for name, weight in weights.load(path).items():
        if name.endswith(_MASK) or weight.dtype.kind not in "fiu":
            continue
        if weight.ndim == 2:
            layers.append(Layer(name, "linear", weight, 0))
        elif 3 <= weight.ndim <= 5:
            layers.append(Layer(name, "conv", weight, 1))
    return Contents(layers)


def read_model(path: Path) -> Contents:
    """The layers of an exported inference model, ``path`` being its ``.pdmodel``."""
    import_paddle()
    import paddle

    from ..network import exported

    exported.require(path)
    if not path.with_suffix(".pdiparams").is_file():
        raise TwoFourError(f"{path.with_suffix('.pdiparams')}, the weights of {path}, is missing")
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    scope = paddle.static.Scope()
    try:
        with paddle.static.scope_guard(scope):
            program, _, _ = paddle.static.load_inference_model(str(path.with_suffix("")), executor)
    except Exception as error:  # a damaged file raises almost anything
        raise TwoFourError(f"cannot read {path} with its .pdiparams: {telling(error)}") from error
    tensors = {
        v.name: np.array(scope.find_var(v.name).get_tensor())
        for v in program.list_vars()
        if v.persistable and v.name not in ("feed", "fetch")
    }
    origin = {name: name for name in tensors}  # the tensor that each was made from
    called: dict[str, str] = {}  # what is dequantised has the name of what it was stored as
    layers: dict[tuple, Layer] = {}
    judged: set[str] = set()
    readers: dict[str, list[str]] = {}
    for op in (op for block in program.blocks for op in block.ops):
        for name in op.input_arg_names:
            if name in origin:
                readers.setdefault(origin[name], []).append(op.type)
        _follow(op, tensors, origin)
        if op.type in _LINEAR:
            source = op.input("X")[0]
            called[op.output("Y")[0]] = called.get(source, source)
        for slot, axis in _OPERATORS.get(op.type, []):
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
            found = layer(called.get(name, name), op.type, weight, axis, count)
            layers.setdefault((found.name, found.axis), found)
            judged.add(origin[name])
    unjudged: dict[str, str] = {}
    others: dict[str, str] = {}
    for name in sorted(set(origin.values()) - judged):
        if not looks_like_weight(tensors[name].shape):
            continue
        kinds = list(dict.fromkeys(k for k in readers.get(name, []) if k not in _CONSTANT))
        words = "; ".join(f"{kind} reads it" for kind in kinds) or "nothing reads it"
        (others if set(kinds) <= _NO_LAYER else unjudged)[name] = words
    return Contents(list(layers.values()), unjudged, others)


_LINEAR = ("quantize_linear", "dequantize_linear")
_CONSTANT = ("transpose2", "reshape2", "cast", *_LINEAR)


def _follow(op, tensors: dict[str, np.ndarray], origin: dict[str, str]) -> None:
    """Compute the output of ``op`` if it turns, casts or (de)quantises a constant tensor."""
    if op.type not in _CONSTANT or op.input("X")[0] not in tensors:
        return
    source, target = op.input("X")[0], op.output("Y" if op.type in _LINEAR else "Out")[0]
    value = tensors[source]
    if op.type in _LINEAR:
        # The scale is of no account, and a zero point, where it is not 0, is that of the integers.
        zero = tensors.get((op.input("ZeroPoint") or [""])[0])
        if zero is not None and zero.any():
            axis = op.attr("quant_axis")
            shape = [-1 if i == axis or zero.size == 1 else 1 for i in range(value.ndim)]
            shift = zero.reshape(shape) if zero.size > 1 else zero.item()
            value = value.astype(np.float32) - shift
    elif op.type == "transpose2":
        value = value.transpose(op.attr("axis"))
    elif op.type == "reshape2":
        value = value.reshape(op.attr("shape"))
    tensors[target], origin[target] = value, origin[source]
