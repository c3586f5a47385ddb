"""Our side of the TensorRT backend, run against stand-ins; tests/gpu covers the GPU itself."""

import json
import logging
import shutil
import sys
import types

from twofour.deploy import backends, build, cuda, profiles, sparsity_log
from twofour.deploy.backends import tensorrt
from twofour.deploy.profiles import Profile
from twofour.network import architecture
from twofour.quantization import calibration, forms, observe, onnx_graph
from twofour.system import hardware
from twofour.system.errors import TwoFourError

import doubles
import numpy as np
import onnx
import pytest
import quantised

GPU = {"name": "NVIDIA A100", "driver_version": "535.1", "compute_cap": "8.0"}
MACHINE = hardware.Machine("gpu", GPU["name"], 1)


@pytest.fixture(params=["8.5.3.1", "10.16.1.11", "11.4.0.106"])
def library(request, monkeypatch):
    """TensorRT of three generations, and the driver, as stand-ins."""
    driver = doubles.Driver(GPU)
    trt = doubles.tensorrt(request.param, driver)
    trt.driver = driver
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    monkeypatch.setattr(cuda, "_context", None)
    monkeypatch.setattr(tensorrt, "gpus", lambda: [GPU])
    return trt


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny network, exported as the pipeline does."""
    from twofour import config
    from twofour.deploy import export
    from twofour.network.inference import Inference

    from conftest import TINY
    from plans import variables

    settings = config.validated(TINY)
    network = architecture.resnet(settings.model, 4)
    size = settings.data.image_size
    rng = np.random.default_rng(0)
    shapes = variables(Inference(network, size, "cpu").graph)
    state = {
        name: (np.abs(rng.standard_normal(shapes[name])) * 0.3 + 0.1).astype("float32")
        for name in network.state
    }
    folder = tmp_path_factory.mktemp("exported")
    export.export(network, state, size, folder)
    return folder


def test_stand_ins_have_only_what_the_bindings_have():
    bindings = doubles.Bindings("11.4.0.106")
    assert not hasattr(bindings.enum("BuilderFlag"), "FP16")
    asks = type("Builder", (), {"platform_has_fast_fp16": True})
    with pytest.raises(AssertionError, match="Builder has no platform_has_fast_fp16"):
        bindings.stands_for("Builder")(asks)
    logs = bindings.stands_for("ILogger")(type("ILogger", (), {"log": lambda *given: None}))()
    logs.log(1, "a message")
    with pytest.raises(AssertionError, match="log: "):
        logs.log("a message")


def images(count):
    return np.random.default_rng(count).standard_normal((count, 3, 32, 32)).astype("float32")


def made(exported, out, name="tensorrt", precision="fp16"):
    batches = profiles.make([1, 5], evaluation=7)
    return build.build(name, precision, exported, out, MACHINE, batches)


def test_outputs_are_those_of_the_onnx_file_for_every_batch(library, exported, tmp_path):
    record = made(exported, tmp_path)
    assert (record["version"], record["driver"]) == (library.__version__, "535.1")
    assert record["identity"] == {
        "tensorrt": library.__version__,
        "gpu": "NVIDIA A100",
        "compute_capability": "8.0",
    }
    assert record["sources"].keys() == {"model.onnx"}
    predict, _ = build.load(exported, tmp_path, MACHINE)
    typed = not library.__version__.startswith("8")
    cpu = hardware.Machine("cpu", "some CPU", 1)
    reference = backends.module("onnxruntime").load(exported, tmp_path, "fp32", cpu)
    for count in (5, 1, 7, 3, 5, 2):  # back and forth between exact engines and the ranged one
        expected = reference(images(count))
        np.testing.assert_allclose(predict(images(count)), expected, rtol=2e-2 if typed else 1e-5)
        assert predict.device_seconds > 0
    with pytest.raises(TwoFourError, match="no engine was built for a batch of 8 images"):
        predict(images(8))


def test_a_batch_is_copied_run_between_two_events_and_waited_for(library, exported, tmp_path):
    made(exported, tmp_path)
    predict, _ = build.load(exported, tmp_path, MACHINE)
    predict(images(5))
    wanted = ["to device", "event", "execute", "event", "to host", "wait"]
    assert library.driver.calls == wanted
    first = predict(images(5))
    kept = first.copy()
    predict(images(5) + 1)
    assert np.array_equal(first, kept)  # the caller's array is not one of our buffers


def test_engines_follow_the_profiles_and_the_precision(library, exported, tmp_path):
    made(exported, tmp_path, precision="fp32")
    shapes = [(low[0], high[0]) for low, high, _ in library.builds]
    assert shapes == [(1, 1), (5, 5), (1, 7)]
    assert all(flags == frozenset() for *_, flags in library.builds)
    assert {p.name for p in tmp_path.glob("*.engine")} == {
        "bs1.engine",
        "bs5.engine",
        "bs1-7.engine",
    }
    library.builds.clear()
    made(exported, tmp_path / "tf32", precision="tf32")
    assert {flags for *_, flags in library.builds} == {frozenset({"TF32"})}
    library.builds.clear()
    made(exported, tmp_path / "sparse", "tensorrt_sparse", "fp16")
    assert {flags for *_, flags in library.builds} == {flags_of(library, "FP16", sparse=True)}


def flags_of(library, *precision: str, sparse: bool):
    """Flags for the precision exist for networks that are not strongly typed."""
    found = {"TF32", *(precision if library.__version__.startswith("8") else ())}
    return frozenset(found | ({"SPARSE_WEIGHTS"} if sparse else set()))


def test_build_json_lists_the_layers_by_our_names(library, exported, tmp_path):
    record = made(exported, tmp_path, "tensorrt_sparse")
    assert record["sparse_kernels"] is True and record["note"] == ""
    assert list(record["engines"]) == ["bs1", "bs5", "bs1-7"]
    facts = record["engines"]["bs5"]
    assert (facts["layers"], facts["sparse_tactics"]) == (2, 1)
    assert (facts["eligible_count"], facts["picked_count"]) == (17, 9)
    found = sparsity_log.sparse_layers(record, ["stem.conv", "layer1.0.conv1", "layer1.0.conv2"])
    assert found == {
        "stem.conv": (True, True),
        "layer1.0.conv1": (True, False),
        "layer1.0.conv2": (True, True),
    }
    dense = made(exported, tmp_path / "dense")
    assert dense["engines"]["bs5"]["eligible_count"] is None
    assert sparsity_log.sparse_layers(dense, ["stem.conv"]) is None


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    """A network in int8."""
    return quantised.export(tmp_path_factory.mktemp("rounded"), blocks=[1, 1, 1, 1])


def test_int8_is_explicit_and_the_inspector_says_what_ran(
    library, rounded, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("twofour"), "propagate", True)
    record = build.build("tensorrt_sparse", "int8", rounded, tmp_path, MACHINE, [Profile(1, 7)])
    flags = {flags for *_, flags in library.builds}
    assert flags == {flags_of(library, "FP16", "INT8", sparse=True)}
    assert record["sources"].keys() == {"model.int8.onnx"}
    facts = record["engines"]["bs1-7"]
    assert (facts["int8_layers"], facts["float_layers"]) == (16, ["layer4.0.conv3"])
    assert "computes 1 of 17 quantised convolutions in floating point" in caplog.text
    predict, _ = build.load(rounded, tmp_path, MACHINE)
    batch = quantised.images(5)
    expected = observe.runner(onnx_graph.load(rounded / "model.int8.onnx"), ["probabilities"], 1)
    atol = 1e-5 if library.__version__.startswith("8") else 0.05  # the rest is in fp16
    np.testing.assert_allclose(predict(batch), expected(batch)["probabilities"], atol=atol)


def test_what_tensorrt_refuses_of_integers_is_a_sentence(library, rounded, tmp_path, monkeypatch):
    graph = onnx_graph.load(rounded / "model.int8.onnx")
    limits = calibration.read(rounded).limits
    shutil.copytree(rounded, tmp_path / "model")
    onnx_graph.write(tmp_path / "model" / "model.int8.onnx", forms.for_onnxruntime(graph, limits))
    with pytest.raises(
        TwoFourError, match=r"cannot read .*model\.int8\.onnx: zero points must be 0"
    ):
        build.build("tensorrt", "int8", tmp_path / "model", tmp_path, MACHINE, [Profile(1, 7)])
    monkeypatch.setitem(library.driver.gpu, "compute_cap", "6.0")
    with pytest.raises(TwoFourError, match="has no fast int8, only fp32"):
        build.build("tensorrt", "int8", rounded, tmp_path, MACHINE, [Profile(1, 7)])


def test_another_gpu_gets_engines_of_its_own(library, exported, tmp_path, monkeypatch):
    made(exported, tmp_path)
    builds = len(library.builds)
    other = {**GPU, "name": "NVIDIA H100", "compute_cap": "9.0"}
    monkeypatch.setattr(library.driver, "gpu", other)
    machine = hardware.Machine("gpu", "NVIDIA H100", 1)
    predict, record = build.load(exported, tmp_path, machine)
    assert record["identity"]["gpu"] == "NVIDIA H100"
    assert len(library.builds) == 2 * builds
    predict(images(3))
    build.load(exported, tmp_path, machine)
    assert len(library.builds) == 2 * builds


def test_timings_are_kept_for_the_next_build(library, exported, tmp_path):
    made(exported, tmp_path)
    first = (tmp_path / "timing.cache").read_bytes()
    made(exported, tmp_path)
    assert len((tmp_path / "timing.cache").read_bytes()) == 2 * len(first) > 0
    (tmp_path / "timing.cache").write_bytes(b"other version's")
    made(exported, tmp_path)
    assert (tmp_path / "timing.cache").read_bytes() == first


def test_layers_are_timed_by_our_names_and_change_nothing(library, exported, tmp_path):
    made(exported, tmp_path / "b")
    predict, _ = build.load(exported, tmp_path / "b", MACHINE)
    pictures = images(2)
    before = predict(pictures)
    times = sparsity_log.layer_times(predict.layer_ms(pictures), ["layer1.0.conv1", "none"])
    assert times == {"layer1.0.conv1": pytest.approx(0.2)}
    assert np.array_equal(predict(pictures), before)


def test_what_layers_save_goes_by_the_names_that_tensorrt_joins():
    dense = {"layer1.0.conv1 + Relu.1": 3.0, "layer1.0.conv2 + Add + Relu": 2.0, "fc": 1.0}
    pruned = {"layer1.0.conv1 + Relu.1": 1.0, "layer1.0.conv2": 2.5}
    names = ["layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer1.0.conv3.weight"]
    assert list(sparsity_log.saved(dense, pruned, names).values()) == [2.0, -0.5, 0.0]


def test_timings_of_an_earlier_build_are_taken_over(library, exported, tmp_path):
    made(exported, tmp_path / "a")
    kept = (tmp_path / "a" / "timing.cache").read_bytes()
    batches = profiles.make([1], evaluation=1)
    for name, like in (("b", tmp_path / "a"), ("c", tmp_path / "none")):
        out = tmp_path / name
        build.build("tensorrt", "fp16", exported, out, MACHINE, batches, like=like)
        assert (out / "timing.cache").read_bytes().startswith(kept) == (name == "b")


def test_engines_for_other_batches_do_not_stay(library, exported, tmp_path):
    """They would be from an older model, and be chosen for batches that they fit best."""
    build.build("tensorrt", "fp32", exported, tmp_path, MACHINE, profiles.make([3], 9))
    made(exported, tmp_path)
    assert not (tmp_path / "bs3.engine").exists()
    assert len(list(tmp_path.glob("*.engine"))) == 3


def test_tensorrt_that_cannot_start_is_a_sentence(library, exported, tmp_path):
    def fails(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    library.Builder = fails
    with pytest.raises(TwoFourError, match="TensorRT cannot start on this machine"):
        made(exported, tmp_path)


def test_damaged_engine_and_onnx_are_one_sentence(library, exported, tmp_path):
    made(exported, tmp_path)
    (tmp_path / "bs5.engine").write_bytes(b"junk")
    predict, _ = build.load(exported, tmp_path, MACHINE)
    with pytest.raises(TwoFourError, match=r"cannot load .*bs5\.engine: the plan is damaged"):
        predict(images(5))
    (tmp_path / "model.onnx").write_bytes(b"\xff\xff")
    with pytest.raises(TwoFourError, match=r"cannot read .*model\.onnx: (no ONNX|Error parsing)"):
        made(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_precision_that_the_gpu_lacks(library, exported, tmp_path, monkeypatch, precision):
    monkeypatch.setitem(library.driver.gpu, "compute_cap", "7.5")
    with pytest.raises(TwoFourError, match=f"has no fast {precision}, only fp32, fp16, int8"):
        made(exported, tmp_path, precision=precision)


def test_bf16_is_in_the_types_of_the_file_or_refused(library, exported, tmp_path):
    if library.__version__.startswith("8"):
        with pytest.raises(TwoFourError, match=r"TensorRT 8\.5\.3\.1 has no bf16; take bf16 out"):
            made(exported, tmp_path, precision="bf16")
        return
    made(exported, tmp_path, precision="bf16")
    assert {flags for *_, flags in library.builds} == {frozenset({"TF32"})}
    graph = onnx_graph.load(tmp_path / "model.onnx")
    weight = next(n.input[1] for n in graph.proto.node if n.op_type == "Conv")
    assert graph.stored[weight].data_type == onnx.TensorProto.BFLOAT16
    predict, _ = build.load(exported, tmp_path, MACHINE)
    assert predict(images(3)).dtype == np.float32


def test_driver_errors_are_told(monkeypatch):
    failing = types.SimpleNamespace(
        cuInit=lambda flags: (100,), cuGetErrorString=lambda status: (0, b"no device")
    )
    monkeypatch.setattr(cuda, "_driver", lambda: failing)
    with pytest.raises(TwoFourError, match="the NVIDIA driver reports: no device"):
        cuda.require()


def test_record_is_json(library, exported, tmp_path):
    record = made(exported, tmp_path)
    assert json.loads((tmp_path / "build.json").read_text()) == record
