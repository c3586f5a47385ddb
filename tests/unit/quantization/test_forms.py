"""Q/DQ files: where the pairs are, the same numbers in all forms, zeros that stay zeros."""

from twofour.artifacts import CALIBRATION, ONNX, QUANTIZED
from twofour.network import architecture
from twofour.network.settings import Model
from twofour.quantization import calibration, fold, forms, observe, onnx_graph, placement
from twofour.sparse import check
from twofour.system.errors import TwoFourError

import numpy as np
import onnx
import pytest
import quantised


def outputs(graph, batch):
    return observe.runner(graph, ["probabilities"], 1)(batch)["probabilities"]


def loaded(folder, name=QUANTIZED):
    return onnx_graph.load(folder / name)


def counts(graph):
    kinds = [node.op_type for node in graph.proto.node]
    return {kind: kinds.count(kind) for kind in set(kinds)}


def test_folding_batch_norms_changes_nothing(exported):
    before, after = loaded(exported, ONNX), fold.fold(loaded(exported, ONNX))
    assert "BatchNormalization" not in counts(after)
    batch = quantised.images(4)
    np.testing.assert_allclose(outputs(after, batch), outputs(before, batch), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layers", "sides", "tensors"), [("resnet18", 21, 8, 21), ("resnet50", 54, 16, 54)]
)
def test_placement_in_whole_networks(tmp_path, name, layers, sides, tensors):
    """Inputs of all layers; of each addition the identity, which a layer reads, or the shortcut."""
    folder = quantised.export(tmp_path, name, 0.125)
    graph = fold.fold(loaded(folder, ONNX))
    placed = placement.place(graph)
    assert (len(placed.layers), len(placed.sides)) == (layers, sides)
    shortcuts = [add.input[i] for add, i in placed.sides if graph.maker(add.input[i]) == "Conv"]
    network = architecture.resnet(Model(name=name, width=0.125), 4)
    assert len(shortcuts) == sum(block.shortcut is not None for block in network.blocks)
    # The layers of a block with a shortcut read the same tensor; identities are inputs already.
    assert len(placed.tensors) == tensors


def test_pairs_are_int8_with_zero_point_0_and_weights_per_output_channel(exported):
    graph = loaded(exported)
    for node in graph.proto.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero, scale = graph.array(node.input[2]), graph.array(node.input[1])
            assert zero.dtype == np.int8 and not zero.any()
            assert scale.dtype == np.float32 and (scale > 0).all()
            if node.input[0] in graph.stored:
                weight = graph.array(node.input[0])
                (axis,) = (a.i for a in node.attribute if a.name == "axis")
                assert weight.dtype == np.int8 and scale.shape == (weight.shape[axis],)
                assert axis == (0 if weight.ndim == 4 else 1)
            else:
                assert scale.shape == ()
    for node in forms.quantised_layers(graph):
        assert all(graph.maker(name) == "DequantizeLinear" for name in node.input[:2])
        assert all(graph.array(name).dtype == np.float32 for name in node.input[2:])  # the bias
    assert graph.model.opset_import[0].version == 13


def test_the_same_bytes_twice_and_four_to_one_in_size(exported):
    written = (exported / QUANTIZED).read_bytes()
    assert onnx_graph.content(quantised.quantise(exported)) == written
    assert len(written) < 0.4 * (exported / ONNX).stat().st_size


def test_an_excluded_layer_stays_in_floating_point(exported):
    graph = quantised.quantise(exported, ["stem.*", "layer1.0.conv2.weight"])
    names = [node.name for node in forms.quantised_layers(graph)]
    assert "layer1.0.conv1" in names and not {"stem.conv", "layer1.0.conv2"} & set(names)
    assert graph.array("stem.conv.weight").dtype == np.float32


def test_a_residual_side_is_rounded_only_beside_a_quantised_layer(exported):
    last = {"resnet18": "conv2", "resnet50": "conv3"}
    kind = "resnet50" if "layer1.0.conv3" in str(loaded(exported, ONNX).model) else "resnet18"
    graph = quantised.quantise(exported, [f"layer1.0.{last[kind]}.weight"])
    (first, *others) = placement.residual_additions(graph)
    dequantised = [sum(graph.maker(i) == "DequantizeLinear" for i in add.input) for add in others]
    assert dequantised == [1] * len(others)
    assert [graph.maker(i) == "DequantizeLinear" for i in first.input].count(True) <= 1


def test_weights_are_rounded_to_the_nearest_step_and_zeros_stay(exported):
    before, graph = fold.fold(loaded(exported, ONNX)), loaded(exported)
    for node in forms.quantised_layers(graph):
        name = node.input[1]
        weight, stored = before.array(name), graph.array(name + ".int8").astype(np.float64)
        axis = 0 if weight.ndim == 4 else 1
        step = onnx_graph.along(graph.array(name + ".scale"), weight.ndim, axis)
        assert np.abs(stored).max() == 127
        assert (np.abs(stored * step - weight) <= 0.5001 * step).all()
        assert not stored[weight == 0].any()


def test_the_quantised_network_is_close_to_the_one_in_fp32(exported):
    batch = quantised.images(32, seed=5)
    exact, rounded = outputs(loaded(exported, ONNX), batch), outputs(loaded(exported), batch)
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 0.1  # it is rounded, and right


def test_tensorrt_8_gets_the_same_numbers_without_stored_integers(exported):
    graph = forms.with_float_weights(loaded(exported))
    assert all(
        t.data_type != onnx.TensorProto.INT8 or not t.name.endswith(".int8")
        for t in graph.proto.initializer
    )
    onnx.checker.check_model(graph.model, full_check=True)
    batch = quantised.images(4)
    assert np.array_equal(outputs(graph, batch), outputs(loaded(exported), batch))


def test_the_form_of_onnxruntime_has_the_same_ranges_and_weights(exported):
    plain = loaded(exported)
    limits = calibration.read(exported).limits
    graph = forms.for_onnxruntime(loaded(exported), limits)
    positive = placement.never_negative(fold.fold(loaded(exported, ONNX)))
    steps, ours = forms.activation_scales(plain), forms.activation_scales(graph)
    for name, step in steps.items():
        top = 255 if name in positive else 127
        assert ours[name] * top == pytest.approx(step * 127, rel=1e-6)
    assert len(ours) > len(steps)
    for tensor in plain.proto.initializer:
        if tensor.name.endswith(".int8"):
            assert np.array_equal(plain.array(tensor.name), graph.array(tensor.name))
    for node in graph.proto.node:
        if node.op_type == "QuantizeLinear":
            unsigned = graph.array(node.input[2]).dtype == np.uint8
            assert unsigned == (node.input[0] in positive)
    batch = quantised.images(32, seed=5)
    np.testing.assert_allclose(outputs(graph, batch), outputs(plain, batch), atol=0.05)


def test_the_checker_finds_2_4_in_the_quantised_file_and_what_breaks_it(exported, tmp_path):
    outcome = check.judge(str(exported / QUANTIZED), None, ["stem.*", "classifier.*"])
    names = [v.name for v in outcome.verdicts if v.required]
    assert names and all(v.passed for v in outcome.verdicts) and not outcome.unjudged
    assert "layer1.0.conv1.weight" in names  # by the name that the layer always had
    graph = loaded(exported)
    graph.store(
        "layer1.0.conv1.weight.int8", np.ones_like(graph.array("layer1.0.conv1.weight.int8"))
    )
    onnx_graph.write(tmp_path / "broken.onnx", graph)
    verdicts = check.judge(str(tmp_path / "broken.onnx"), names, []).verdicts
    assert [v.name for v in verdicts if not v.passed] == ["layer1.0.conv1.weight"]


# --- calibration.json ---


def test_a_calibration_of_another_file_is_refused(exported, tmp_path):
    (tmp_path / CALIBRATION).write_bytes((exported / CALIBRATION).read_bytes())
    (tmp_path / ONNX).write_bytes(b"another")
    with pytest.raises(TwoFourError, match=r"was made for another .*model\.onnx; calibrate again"):
        calibration.read(tmp_path)
    (tmp_path / CALIBRATION).write_text("[1]")
    with pytest.raises(TwoFourError, match=r"calibration\.json is no calibration"):
        calibration.read(tmp_path)


def test_a_missing_range_is_named(exported):
    graph = fold.fold(loaded(exported, ONNX))
    with pytest.raises(TwoFourError, match="the calibration has no range for images"):
        forms.for_tensorrt(graph, {})


def test_values_that_are_not_finite_are_refused(exported):
    batch = quantised.images(2)
    batch[0, 0, 0, 0] = np.inf
    with pytest.raises(TwoFourError, match="is not finite"):
        calibration.calibrate(exported, lambda: [batch], "minmax", 100, 1)
