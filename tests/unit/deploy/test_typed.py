"""Networks in fp16 and bf16 by the types of their tensors."""

from twofour.artifacts import CHECK
from twofour.deploy import build
from twofour.deploy.backends import typed
from twofour.network import architecture
from twofour.network.settings import Model
from twofour.quantization import fold, forms, observe, onnx_graph
from twofour.system import files

import numpy as np
import onnx
import pytest
import quantised

HALF, BRAIN, FULL = (
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.FLOAT,
)


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """A 2:4 sparse ResNet50 of a quarter of the channels, exported and quantised."""
    return quantised.export(tmp_path_factory.mktemp("rounded"), blocks=[1, 1, 1, 1])


def cast(folder, file="model.onnx", precision="fp16", change=lambda graph: None):
    graph = onnx_graph.load(folder / file)
    change(graph)
    return graph, typed.cast(graph, precision)


def types_of(graph) -> dict[str, int]:
    """The type of each tensor, as ONNX infers it, which fails where an operator mixes types."""
    inferred = onnx.shape_inference.infer_shapes(graph.model, check_type=True, strict_mode=True)
    values = [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]
    found = {v.name: v.type.tensor_type.elem_type for v in values}
    return found | {name: tensor.data_type for name, tensor in graph.stored.items()}


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx"])
def test_all_but_softmax_computes_in_fp16_and_agrees(rounded, file):
    graph, kept = cast(rounded, file)
    assert kept == []
    types = types_of(graph)
    for node in graph.proto.node:
        if node.op_type in ("Conv", "Relu", "Add", "MatMul", "MaxPool", "GlobalAveragePool"):
            assert {types[name] for name in (*node.input, *node.output)} == {HALF}, node.name
        if node.op_type == "Softmax":
            assert types[node.input[0]] == types[node.output[0]] == FULL
    assert types[graph.images] == types[graph.proto.output[0].name] == FULL
    batch = quantised.images(8)
    original = onnx_graph.load(rounded / file)
    expected, found = (
        observe.runner(g, ["probabilities"], 1)(batch)["probabilities"] for g in (original, graph)
    )
    atol = 0.002 if file == "model.onnx" else 0.05
    np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_weights_stay_sparse_under_their_names(rounded, tmp_path, precision):
    graph, _ = cast(rounded, precision=precision)
    onnx_graph.write(tmp_path / "model.onnx", graph)
    names = quantised.sparse_layers(architecture.resnet(Model(width=0.25, blocks=[1, 1, 1, 1]), 4))
    integers, _ = cast(rounded, "model.int8.onnx", precision)
    onnx_graph.write(tmp_path / "model.int8.onnx", integers)
    build.require_sparse(tmp_path, names)
    assert [found["file"].rpartition("/")[2] for found in files.read_json(tmp_path / CHECK)] == [
        *("model.int8.onnx", "model.onnx")
    ]
    folded = fold.fold(onnx_graph.load(rounded / "model.onnx"))
    for name in names:
        found = onnx.numpy_helper.to_array(graph.stored[name]).astype(np.float32)
        np.testing.assert_allclose(found, folded.array(name), rtol=2**-8, atol=2**-24)
        assert (found == 0).mean() >= 0.5


def test_quantised_layers_stay_quantised(rounded):
    before = forms.quantised_layers(onnx_graph.load(rounded / "model.int8.onnx"))
    graph, _ = cast(rounded, "model.int8.onnx")
    assert [n.name for n in forms.quantised_layers(graph)] == [n.name for n in before]
    assert graph.model.opset_import[0].version == 19  # from which on scales may be fp16


def test_bf16_rounds_to_nearest_even():
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 3e38, 0], np.float32)
    found = onnx.numpy_helper.to_array(typed._tensor("w", values, BRAIN))
    np.testing.assert_allclose(found, [1, 1 + 2**-6, -1, 3e38, 0], rtol=2**-8)
    assert found[0] == 1 and found[1] == 1 + 2**-6


def test_an_operator_with_weights_beyond_fp16_stays_in_fp32(rounded):
    def enlarge(graph):
        name = "layer2.0.conv1.weight"
        enlarge.layer = graph.readers[name][0].name
        graph.store(name, graph.array(name) * np.float32(1e6))

    graph, kept = cast(rounded, change=enlarge)
    assert kept == [enlarge.layer]
    types = types_of(graph)
    (node,) = (n for n in graph.proto.node if n.name == enlarge.layer)
    assert {types[name] for name in (*node.input, *node.output)} == {FULL}
    assert node.input[1] == "layer2.0.conv1.weight"  # a name, by which 2:4 is checked
    _, none = cast(rounded, precision="bf16", change=enlarge)
    assert none == []  # bf16 has the range of fp32


def test_equal_networks_give_equal_files(rounded):
    first, second = (onnx_graph.content(cast(rounded, "model.int8.onnx")[0]) for _ in range(2))
    assert first == second


def test_operators_need_no_names(rounded):
    def forget(graph):
        for node in graph.proto.node:
            node.name = ""

    graph, kept = cast(rounded, change=forget)
    types = types_of(graph)
    kinds = {node.op_type: types[node.output[0]] for node in graph.proto.node}
    assert (kept, kinds["Conv"], kinds["MatMul"], kinds["Softmax"]) == ([], HALF, HALF, FULL)
