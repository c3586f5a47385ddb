"""From weights to deployable files: a Paddle inference model and an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle

from ..artifacts import ONNX, PADDLE_MODEL, PADDLE_WEIGHTS
from ..data.settings import Data
from ..network import exported, scope, weights
from ..network.architecture import IMAGES, PROBABILITIES, Architecture
from ..network.inference import Inference
from ..system.errors import TwoFourError
from ..system.files import atomic, scratch

OPSET = 13  # read by every ONNX Runtime since 1.6 and TensorRT since 8.0


def export(network: Architecture, state: Mapping[str, np.ndarray], size: int, out: Path) -> None:
    """Write model.pdmodel, model.pdiparams and model.onnx into ``out``.

    The network maps normalised images [N, C, H, W] of ``size`` pixels to class probabilities
    [N, classes], for any N. ``state`` are its weights and running statistics.
    """
    infer = Inference(network, size, "any").load(state)
    with scratch(out) as folder, paddle.static.scope_guard(infer.scope):
        exported.save(folder, infer.images, infer.probabilities, infer.executor, infer.graph)
        _to_onnx(folder / "model")
        for name in (PADDLE_MODEL, PADDLE_WEIGHTS, ONNX):
            content = (folder / name).read_bytes()
            with atomic(out / name, len(content)) as temporary:
                temporary.write_bytes(content)


def require_same(network: Architecture, state: Mapping[str, np.ndarray], out: Path) -> None:
    """Raise TwoFourError if a file in ``out`` holds other weights than ``state``."""
    for path, found in ((out, paddle_weights(out)), (out / ONNX, onnx_weights(out / ONNX))):
        weights.require(found, network.weights, path)
        for name in network.weights:
            if not np.array_equal(found[name], state[name]):
                raise TwoFourError(f"{name} in {path} is not the weight that was exported")


def description(network: Architecture, data: Data, classes: Sequence[str]) -> dict:
    """What model.json says about an exported model: its input, how to prepare it, its output."""
    return {
        "model": network.name,
        "input": {
            "name": IMAGES,
            "shape": ["N", network.input_channels, data.image_size, data.image_size],
            "layout": "NCHW",
            "type": "float32",
            "channels": ["red", "green", "blue", "zeros"][: network.input_channels],
            "exif_orientation": "applied" if data.exif == "apply" else "ignored",
            "resize_shorter_side": data.resize,
            "resized_longer_side": "in proportion, to the nearest pixel",
            "interpolation": "bilinear",
            "antialias": True,
            "centre_crop": data.image_size,
            "crop_begins_at": "half of what is left out, half a pixel rounded up",
            "scale": "values of 0 to 255 are divided by 255",
            "mean": data.mean,
            "std": data.std,
            "normalisation": "(scaled value - mean) / std of each channel; zeros stay 0",
        },
        "output": {
            "name": PROBABILITIES,
            "shape": ["N", network.classes],
            "meaning": "class probabilities",
        },
        "classes": list(classes),
    }


def _to_onnx(prefix: Path) -> None:
    import paddle2onnx

    paddle2onnx.export(
        f"{prefix}.pdmodel", f"{prefix}.pdiparams", f"{prefix}.onnx", opset_version=OPSET
    )
    if not Path(f"{prefix}.onnx").is_file():
        raise TwoFourError("paddle2onnx wrote no ONNX file; its messages are above")
    _tidy(f"{prefix}.onnx")


def _tidy(path: str) -> None:
    """Bring the converter's file into the form that tools expect.

    Weights become initializers (the converter writes Constant nodes, which quantisers and sparsity
    checkers do not look at), the output gets a meaningful name and the batch dimension the name N.
    Nodes with weights are named after them, since profilers and TensorRT's log show node names.
    """
    import onnx

    exported = onnx.load(path)
    graph = exported.graph
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            nodes.append(node)
    (result,) = graph.output
    for node in nodes:
        for name in node.input:
            if name.endswith(".weight") and node.op_type in ("Conv", "MatMul", "Gemm"):
                node.name = name[: -len(".weight")]
        for index, name in enumerate(node.output):
            if name == result.name:
                node.output[index] = PROBABILITIES
    result.name = PROBABILITIES
    for value in (graph.input[0], result):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def paddle_weights(folder: Path) -> dict[str, np.ndarray]:
    """All weights in an exported Paddle model, by name, read from the files themselves."""
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    own = paddle.static.Scope()
    with paddle.static.scope_guard(own):
        main, _, _ = exported.load(folder, executor)
    names = [v.name for v in main.list_vars() if v.persistable and v.name not in ("feed", "fetch")]
    return scope.read(names, own)


def onnx_weights(path: Path) -> dict[str, np.ndarray]:
    """All initializers of an ONNX file, by name."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
