"""ONNX Runtime on GPUs: what can be seen without one; tests/gpu has the rest."""

import sys
from pathlib import Path

from twofour.deploy import backends, build, cuda, profiles
from twofour.deploy.backends import onnxruntime as ort
from twofour.deploy.backends import onnxruntime_cuda, onnxruntime_tensorrt, providers
from twofour.quantization import onnx_graph
from twofour.system import files, hardware
from twofour.system.errors import TwoFourError

import doubles
import numpy as np
import onnxruntime
import pytest
import quantised

GPU = {"name": "NVIDIA A100", "driver_version": "535.1", "compute_cap": "8.0"}
MACHINE = hardware.Machine("gpu", GPU["name"], 1)
CPU = hardware.Machine("cpu", "some CPU", 1)
BOTH = [onnxruntime_cuda, onnxruntime_tensorrt]
# The options of both providers, as the strings of onnxruntime-gpu 1.26.0 and 1.31.1 list them.
KNOWN = {
    "CUDAExecutionProvider": {"use_tf32", "cudnn_conv_algo_search"},
    "TensorrtExecutionProvider": {
        *("trt_sparsity_enable", "trt_fp16_enable", "trt_int8_enable", "trt_engine_cache_enable"),
        *("trt_engine_cache_path", "trt_timing_cache_enable", "trt_timing_cache_path"),
        *("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes"),
    },
}


@pytest.fixture(scope="module")
def rounded(tmp_path_factory):
    return quantised.export(tmp_path_factory.mktemp("rounded"), blocks=[1, 1, 1, 1])


@pytest.fixture(scope="module")
def expected(rounded):
    """What the network returns for five images, on the CPU."""
    return ort.load(rounded, rounded, "fp32", CPU)(quantised.images(5))


@pytest.fixture
def gpu(monkeypatch):
    """ONNX Runtime with its GPU providers, which compute on the CPU and notice their options."""
    driver = doubles.Driver(GPU)
    monkeypatch.setitem(sys.modules, "tensorrt", doubles.tensorrt("10.16.1.11", driver))
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    monkeypatch.setattr(cuda, "_context", None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*KNOWN, ort.CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda directory: None, raising=False)
    opened = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, path, options, providers, enable_fallback):
            (self.provider, given), last = providers
            assert enable_fallback == 0  # it would compute on the CPU without an error
            assert last == ort.CPU and given.keys() <= KNOWN[self.provider]
            opened.append((self.provider, given))
            super().__init__(path, options, providers=[last])

        def get_providers(self):
            return [self.provider, ort.CPU]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    codes = {(8, 0), (9, 0)}, set()
    monkeypatch.setattr(providers.fatbin, "architectures", lambda path: codes)
    placed = providers.placed
    moved = {ort.CPU: "CUDAExecutionProvider"}

    def on_gpu(events, backend):
        for event in events:
            ran = event.get("args", {})
            ran["provider"] = moved.get(ran.get("provider"), "")
        return placed(events, backend)

    monkeypatch.setattr(providers, "placed", on_gpu)
    return opened


def built(name, precision, model, out):
    return build.build(name, precision, model, out, MACHINE, profiles.make([1, 4], evaluation=6))


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_cuda_runs_the_file_in_its_precision(expected, gpu, rounded, tmp_path, precision):
    record = built("onnxruntime_cuda", precision, rounded, tmp_path)
    assert record["operators"]["CUDAExecutionProvider"] > 17 and not record["sparse_kernels"]
    assert {given["use_tf32"] for _, given in gpu} == {str(precision == "tf32")}
    assert (tmp_path / "model.onnx").exists() == (precision == "fp16")
    predict, _ = build.load(rounded, tmp_path, MACHINE)
    np.testing.assert_allclose(predict(quantised.images(5)), expected, atol=0.002)


@pytest.mark.parametrize("precision", ["tf32", "fp16", "int8"])
def test_tensorrt_has_an_engine_for_each_batch_with_sparse_kernels_allowed(
    gpu, rounded, tmp_path, precision
):
    record = built("onnxruntime_tensorrt", precision, rounded, tmp_path)
    assert record["sparse_kernels"] and record["operators"].keys() == {"bs1", "bs4", "bs1-6"}
    assert record["identity"].keys() == {"onnxruntime", "tensorrt", "gpu", "compute_capability"}
    given = {options["trt_engine_cache_path"]: options for _, options in gpu}
    ranged = given[str(tmp_path / "bs1-6")]
    assert ranged["trt_profile_min_shapes"] == "images:1x3x32x32"
    assert ranged["trt_profile_max_shapes"] == "images:6x3x32x32"
    flags = [ranged[f"trt_{name}_enable"] for name in ("sparsity", "fp16", "int8")]
    assert flags == ["True", str(precision != "tf32"), str(precision == "int8")]
    predict, _ = build.load(rounded, tmp_path, MACHINE)
    for count in (4, 1, 6, 3):
        assert predict(quantised.images(count)).shape == (count, 4)
    assert len(gpu) == 3 + 3  # each engine once for the proof, once to predict
    with pytest.raises(TwoFourError, match="no engine was built for a batch of 7 images"):
        predict(quantised.images(7))


def test_engines_for_other_batches_do_not_stay(gpu, rounded, tmp_path):
    (tmp_path / "bs9").mkdir()
    built("onnxruntime_tensorrt", "fp16", rounded, tmp_path)
    assert not (tmp_path / "bs9").exists()


def test_a_network_that_runs_on_the_cpu_after_all_is_an_error(rounded, tmp_path):
    """By the profile that the real library writes."""
    graph = onnx_graph.load(rounded / "model.onnx")
    options = {"enable_profiling": True, "profile_file_prefix": str(tmp_path / "p")}
    session = ort.session(rounded / "model.onnx", 1, **options)
    session.run(None, {graph.images: quantised.images(1)})
    events = files.read_json(Path(session.end_profiling()))
    with pytest.raises(TwoFourError, match=r"computes \w*Conv on the CPU instead of the GPU"):
        providers.placed(events, "onnxruntime_cuda")


@pytest.mark.parametrize("module", BOTH)
def test_onnxruntime_for_cpus_is_one_sentence(module, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ort.CPU])
    with pytest.raises(TwoFourError, match=r"the one here is for CPUs; use .*ENV=deploy-gpu"):
        module.require("fp16")


def test_a_provider_that_does_not_start_is_one_sentence(gpu, rounded, monkeypatch):
    names = [ort.CPU]
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: names)
    with pytest.raises(TwoFourError, match=r"whose CUDAExecutionProvider does not start: .+; use"):
        onnxruntime_cuda.load(rounded, rounded, "fp32", MACHINE)


def test_a_gpu_without_code_is_one_sentence(gpu, rounded, tmp_path, monkeypatch):
    monkeypatch.setitem(cuda._driver().gpu, "compute_cap", "10.0")
    with pytest.raises(
        TwoFourError, match=r"has no code for the NVIDIA A100, only for .* 8.0, 9.0"
    ):
        built("onnxruntime_cuda", "fp16", rounded, tmp_path)


def test_they_are_for_gpus_alone():
    for name in ("onnxruntime_cuda", "onnxruntime_tensorrt"):
        assert not backends.about(name).on_cpu and backends.gpus(name, "auto") == 1
