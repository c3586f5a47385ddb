"""An ONNX file that takes decoded images: resizing, crop and normalisation are inside it.

Its input is what np.asarray gives of a Pillow image in RGB, whatever its size. Resizing with
antialiasing needs ONNX opset 18, which ONNX Runtime has; TensorRT has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from ..network.architecture import IMAGES, PROBABILITIES

OPSET = 18  # of Resize with antialias
PIXELS = "pixels"  # the input
TOP, CLASSES = "top_probabilities", "top_labels"  # further outputs
TOP_K = 5
_PREFIX = "prepare"  # of the names of what is added


def made(model: onnx.ModelProto, about: Mapping[str, Any]) -> onnx.ModelProto:
    """``model``, which ``about`` (its model.json) describes, with the preprocessing before it.

    Input: pixels uint8 [N, H, W, 3], red, green, blue. Outputs: probabilities [N, classes], and the
    most probable five, top_probabilities and top_labels (int64) [N, 5], or fewer of fewer classes.
    """
    converted = version_converter.convert_version(model, OPSET)
    graph, given = converted.graph, about["input"]
    size, channels = given["centre_crop"], given["shape"][1]
    scale = 255 * np.asarray(given["std"], np.float32).reshape(1, 3, 1, 1)
    shift = 255 * np.asarray(given["mean"], np.float32).reshape(1, 3, 1, 1)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: Any, kind: type) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, kind), f"{_PREFIX}.{name}"))
        return f"{_PREFIX}.{name}"

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        name = output if output == IMAGES else f"{_PREFIX}.{output}"
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    x = add("Cast", [PIXELS], "cast", to=TensorProto.FLOAT)
    x = add("Transpose", [x], "channels_first", perm=[0, 3, 1, 2])
    before = add("Cast", [add("Shape", [x], "sides", start=2)], "before", to=TensorProto.FLOAT)
    shorter = constant("shorter", [given["resize_shorter_side"]], np.float32)
    factor = add("Div", [shorter, add("ReduceMin", [before], "least", keepdims=1)], "factor")
    exact = add(
        "Add", [add("Mul", [before, factor], "exact"), constant("half", 0.5, np.float32)], "up"
    )
    after = add("Cast", [add("Floor", [exact], "after")], "sizes", to=TensorProto.INT64)
    # Each side is scaled to exactly its size: keep_aspect_ratio_policy would shift the pixels.
    x = add(
        "Resize",
        [x, "", "", after],
        "resized",
        mode="linear",
        antialias=1,
        coordinate_transformation_mode="half_pixel",
        axes=[2, 3],
    )
    x = add("Round", [x], "whole")  # to 8 bits, as images are resized
    crop = constant("crop", [size, size], np.int64)
    left = add("Sub", [after, crop], "left_out")
    up = add("Add", [left, constant("one", [1, 1], np.int64)], "rounded_up")
    begin = add("Div", [up, constant("two", [2, 2], np.int64)], "begin")
    end = add("Add", [begin, crop], "end")
    x = add("Slice", [x, begin, end, constant("axes", [2, 3], np.int64)], "cropped")
    x = add("Sub", [x, constant("shift", shift, np.float32)], "centred")
    if channels == 4:
        x = add("Div", [x, constant("scale", scale, np.float32)], "normalised")
        pads = constant("pads", [0, 0, 0, 0, 0, 1, 0, 0], np.int64)
        add("Pad", [x, pads], IMAGES)
    else:
        add("Div", [x, constant("scale", scale, np.float32)], IMAGES)

    count = constant("k", [min(TOP_K, len(about["classes"]))], np.int64)
    top = helper.make_node("TopK", [PROBABILITIES, count], [TOP, CLASSES], name="top", axis=1)
    source = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["N", "H", "W", 3])
    best = [
        helper.make_tensor_value_info(TOP, TensorProto.FLOAT, ["N", "K"]),
        helper.make_tensor_value_info(CLASSES, TensorProto.INT64, ["N", "K"]),
    ]
    whole = helper.make_graph(
        [*nodes, *graph.node, top],
        graph.name,
        [source],
        [*graph.output, *best],
        [*constants, *graph.initializer],
    )
    result = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)])
    result.ir_version = converted.ir_version
    onnx.checker.check_model(result, full_check=True)
    return result
