"""TensorRT's rules for Q/DQ files, each broken on purpose."""

from twofour.artifacts import CALIBRATION, ONNX, QUANTIZED
from twofour.quantization import calibration, forms, lint, onnx_graph
from twofour.system.errors import TwoFourError

import numpy as np
import onnx
import pytest
from conftest import program


def pair(graph, name="images"):
    return next(n for n in graph.proto.node if n.op_type == "QuantizeLinear" and n.input[0] == name)


def unsigned(graph):
    graph.store(pair(graph).input[2], np.array(0, np.uint8))


def asymmetric(graph):
    graph.store(pair(graph).input[2], np.array(3, np.int8))


def without_zero(graph):
    for node in graph.proto.node:
        if "images" in (node.input[0], node.input[0].removesuffix(".q")):
            del node.input[2:]


def per_channel_activation(graph):
    graph.store(pair(graph).input[1], np.full(3, 0.1, np.float32))
    graph.store(pair(graph).input[2], np.zeros(3, np.int8))


def wrong_axis(graph):
    node = next(n for n in graph.proto.node if n.output[0] == "layer1.0.conv1.weight")
    channels = graph.array("layer1.0.conv1.weight.int8").shape[1]
    graph.store(node.input[1], np.full(channels, 0.1, np.float32))
    graph.store(node.input[2], np.zeros(channels, np.int8))
    node.attribute[0].i = 1


def negative_scale(graph):
    graph.store(pair(graph).input[1], np.array(-0.1, np.float32))


def int32_bias(graph):
    conv = next(n for n in graph.proto.node if n.name == "stem.conv")
    bias = graph.array(conv.input[2])
    graph.store("b.int32", np.zeros(len(bias), np.int32))
    graph.store("b.zero", np.zeros((), np.int32))
    graph.store("b.scale", np.array(0.1, np.float32))
    node = onnx.helper.make_node("DequantizeLinear", ["b.int32", "b.scale", "b.zero"], ["b"], "b")
    conv.input[2] = "b"
    graph.set_nodes([node, *graph.proto.node])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (unsigned, "uint8, which TensorRT reads as int8"),
        (asymmetric, "its zero point is not 0"),
        (without_zero, "without a zero point"),
        (per_channel_activation, "an activation has a scale for each channel"),
        (wrong_axis, "not that of the output channels"),
        (negative_scale, "a scale is not positive"),
        (int32_bias, "dequantises int32; biases stay in floating point"),
    ],
)
def test_what_tensorrt_refuses_is_found(exported, tmp_path, change, rule):
    graph = onnx_graph.load(exported / QUANTIZED)
    change(graph)
    onnx.save(graph.model, str(tmp_path / "changed.onnx"))
    found = [f.rule for f in lint.judge(tmp_path / "changed.onnx").findings if f.refused]
    assert any(rule in text for text in found), found


def test_our_file_passes_and_that_of_onnxruntime_does_not(exported, tmp_path):
    report = lint.judge(exported / QUANTIZED)
    assert report.findings == [] and report.quantised == report.layers >= 17
    limits = calibration.read(exported).limits
    theirs = forms.for_onnxruntime(onnx_graph.load(exported / QUANTIZED), limits)
    onnx_graph.write(tmp_path / "theirs.onnx", theirs)
    found = lint.judge(tmp_path / "theirs.onnx").findings
    assert any(f.refused for f in found)
    assert any("both sides of the addition" in f.rule and not f.refused for f in found)


def test_half_a_layer_is_told(exported, tmp_path):
    graph = onnx_graph.load(exported / QUANTIZED)
    conv = next(n for n in graph.proto.node if n.name == "stem.conv")
    conv.input[0] = "images"
    onnx.save(graph.model, str(tmp_path / "half.onnx"))
    found = lint.judge(tmp_path / "half.onnx").findings
    assert [(f.node, f.refused) for f in found] == [("stem.conv", False)]
    assert "its input is not rounded" in found[0].rule


def test_the_command_and_its_sentences(exported, tmp_path):
    done = program("check.py", "--tensorrt", exported / QUANTIZED)
    assert "0 operators TensorRT refuses" in done.stderr
    graph = onnx_graph.load(exported / QUANTIZED)
    unsigned(graph)
    onnx.save(graph.model, str(tmp_path / "changed.onnx"))
    done = program("check.py", "--tensorrt", tmp_path / "changed.onnx", check=False)
    assert done.returncode == 1
    assert "error: TensorRT does not take: images.q" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "said"),
    [(ONNX, "is not quantised"), (CALIBRATION, r"is no \.onnx file"), ("no.onnx", "not exist")],
)
def test_files_that_cannot_be_judged_are_a_sentence(exported, name, said):
    with pytest.raises(TwoFourError, match=said):
        lint.judge(exported / name)
