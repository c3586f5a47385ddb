"""TensorRT and ONNX Runtime on a real GPU: agreement, sparse kernels, engines that fit."""

from twofour.deploy import build, profiles
from twofour.quantization import observe, onnx_graph
from twofour.sparse import prune
from twofour.system import hardware, power

import numpy as np
import onnx
import pytest
import quantised
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE = 256, 14
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 2e-2, "bf16": 5e-2}
CASES = [
    *((name, p) for name in ("tensorrt", "tensorrt_sparse") for p in TOLERANCE),
    *(("onnxruntime_cuda", p) for p in ("fp32", "tf32", "fp16")),
    *(("onnxruntime_tensorrt", p) for p in ("tf32", "fp16")),
]


def network(folder, sparse):
    """Two 3×3 convolutions of 256 channels and a softmax, large enough for sparse kernels."""
    rng = np.random.default_rng(0)
    shape = (CHANNELS, CHANNELS, 3, 3)
    weights = {f"conv{i}.weight": rng.standard_normal(shape).astype("float32") for i in range(2)}
    if sparse:
        weights, _ = prune.prune(weights, list(weights), "mask_1d")
    nodes, last = [], "images"
    for name, weight in weights.items():
        weights[name] = weight / np.sqrt((weight**2).sum(axis=(1, 2, 3), keepdims=True))
        layer = name.partition(".")[0]
        nodes += [
            helper.make_node("Conv", [last, name], [layer], name=layer, pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [layer], [f"{layer}.relu"]),
        ]
        last = f"{layer}.relu"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["probabilities"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "network",
        [value("images", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [value("probabilities", TensorProto.FLOAT, ["N", CHANNELS])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    folder.mkdir()
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return model


@pytest.fixture
def machine():
    return hardware.Machine("gpu", hardware.gpus()[0]["name"], 1)


def images(count):
    shape = (count, CHANNELS, SIZE, SIZE)
    return np.random.default_rng(count).standard_normal(shape).astype("float32")


def skip_if_lacking(name, precision):
    """Not every release and every installation has everything."""
    import onnxruntime

    if name.startswith("onnxruntime") and onnxruntime.get_device() != "GPU":
        pytest.skip("this ONNX Runtime is for CPUs")
    if "tensorrt" not in name:
        return
    tensorrt = pytest.importorskip("tensorrt", reason="there is no TensorRT")
    if precision == "bf16" and tensorrt.__version__.startswith("8"):
        pytest.skip("this TensorRT has no bf16")
    if name == "onnxruntime_tensorrt" and not tensorrt.__version__.startswith("10"):
        pytest.skip("ONNX Runtime's provider is for TensorRT 10")


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_agrees_with_the_reference(tmp_path, machine, name, precision):
    from onnx.reference import ReferenceEvaluator

    skip_if_lacking(name, precision)
    model = network(tmp_path / "model", sparse=True)
    batches = profiles.make([1, 4], evaluation=6)
    record = build.build(name, precision, tmp_path / "model", tmp_path / "b", machine, batches)
    predict, loaded = build.load(tmp_path / "model", tmp_path / "b", machine)
    assert loaded == record
    reference = ReferenceEvaluator(model)
    for count in (4, 1, 6, 3, 4):
        (expected,) = reference.run(None, {"images": images(count)})
        np.testing.assert_allclose(predict(images(count)), expected, atol=TOLERANCE[precision])
        assert name.startswith("onnxruntime") or predict.device_seconds > 0


def test_sparse_weights_are_eligible_and_dense_ones_are_not(tmp_path, machine):
    skip_if_lacking("tensorrt_sparse", "fp16")
    batches = profiles.make([32], evaluation=32)
    counts = {}
    for sparse in (True, False):
        model = tmp_path / f"model {sparse}"
        network(model, sparse)
        out = tmp_path / f"built {sparse}"
        record = build.build("tensorrt_sparse", "fp16", model, out, machine, batches)
        counts[sparse] = record["engines"]["bs32"]["eligible_count"]
    assert counts == {True: 2, False: 0}


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """A ResNet of a quarter of the channels with 2:4 weights, calibrated and quantised."""
    skip_if_lacking("tensorrt", "int8")
    return quantised.write(tmp_path_factory.mktemp("rounded"), blocks=[1, 1, 1, 1])


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_sparse"])
def test_int8_engines_compute_with_integers_and_agree(tmp_path, machine, rounded, name):
    batches = profiles.make([4], evaluation=6)
    record = build.build(name, "int8", rounded, tmp_path, machine, batches)
    for facts in record["engines"].values():
        assert facts["float_layers"] == [] and facts["int8_layers"] == 17
    predict, _ = build.load(rounded, tmp_path, machine)
    graph = onnx_graph.load(rounded / "model.int8.onnx")
    expected = observe.runner(graph, ["probabilities"], 1)
    for count in (4, 1, 6):
        batch = quantised.images(count)
        np.testing.assert_allclose(predict(batch), expected(batch)["probabilities"], atol=0.1)


def test_sparse_weights_are_eligible_behind_their_dequantisation(tmp_path, machine, rounded):
    batches = profiles.make([32], evaluation=32)
    record = build.build("tensorrt_sparse", "int8", rounded, tmp_path, machine, batches)
    facts = record["engines"]["bs32"]
    assert facts["eligible_count"], facts
    assert facts["picked_count"] is not None  # TensorRT may find the dense kernels faster


def test_layers_are_timed(tmp_path, machine):
    skip_if_lacking("tensorrt", "fp32")
    network(tmp_path / "model", sparse=True)
    batches = [profiles.Profile(8, 8)]
    build.build("tensorrt", "fp32", tmp_path / "model", tmp_path / "b", machine, batches)
    predict, _ = build.load(tmp_path / "model", tmp_path / "b", machine)
    before = predict(images(8))
    times = predict.layer_ms(images(8))
    assert any(name.startswith("conv0") for name in times)
    assert all(value >= 0 for value in times.values()) and sum(times.values()) > 0
    np.testing.assert_array_equal(predict(images(8)), before)


def test_energy_and_clocks_are_read(machine):
    import time

    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    meter = power.meter(machine)
    if meter is None:
        pytest.skip("NVML cannot be used")
    before = meter.read()
    time.sleep(3 * meter.interval)
    after = meter.read()
    assert after.clock > 0 and 0 < after.temperature < 120 and after.limit > 0
    assert before.joules is None or after.joules > before.joules


def test_engine_of_another_machine_is_built_again(tmp_path, machine, monkeypatch):
    from twofour.deploy.backends import tensorrt

    skip_if_lacking("tensorrt", "fp32")
    network(tmp_path / "model", sparse=True)
    real = tensorrt.identity
    monkeypatch.setattr(tensorrt, "identity", lambda m: {**real(m), "gpu": "another"})
    batches = profiles.make([1], evaluation=2)
    build.build("tensorrt", "fp32", tmp_path / "model", tmp_path / "b", machine, batches)
    monkeypatch.setattr(tensorrt, "identity", real)
    predict, record = build.load(tmp_path / "model", tmp_path / "b", machine)
    assert record["identity"] == real(machine)
    predict(images(2))
