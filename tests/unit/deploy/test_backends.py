"""Backends: which are used and where, what they refuse, and what TensorRT's log says."""

import json
import subprocess
import sys

from twofour.deploy import backends, build, profiles, sparsity_log
from twofour.deploy.backends import onnxruntime, paddle_trt, tensorrt
from twofour.system import hardware
from twofour.system.errors import TwoFourError
from twofour.system.settings import Hardware

import numpy as np
import openvino
import pytest
from conftest import SCRIPTS, program

BACKENDS = backends.NAMES
NO_GPU = not hardware.gpus()


# --- cases and devices ---


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_has_the_whole_protocol(name):
    module = backends.module(name)
    about = backends.about(name)
    assert all(callable(getattr(module, f)) for f in ("require", "identity", "build", "load"))
    assert bool(about.note) != about.sparse_kernels  # dense kernels are always noted


def test_backends_are_used_in_the_precisions_that_they_have():
    found = backends.cases(["onnxruntime", "tensorrt", "paddle_trt"], ["fp16", "fp32"])
    assert found == [
        ("onnxruntime", "fp32"),
        ("tensorrt", "fp16"),
        ("tensorrt", "fp32"),
        ("paddle_trt", "fp16"),
        ("paddle_trt", "fp32"),
    ]


@pytest.mark.parametrize(
    ("names", "precisions", "message"),
    [
        (["paddle", "tensorrt"], ["fp16"], "lists none that paddle has: fp32"),
        (["paddle"], ["fp32", "tf32"], "none of paddle has tf32"),
    ],
)
def test_impossible_cases_are_named(names, precisions, message):
    with pytest.raises(TwoFourError, match=message):
        backends.cases(names, precisions)


def test_a_cpu_backend_stays_on_the_cpu_beside_gpu_ones():
    assert backends.target("onnxruntime", Hardware(threads=2)).device == "cpu"


def test_a_gpu_backend_is_refused_where_the_config_says_cpu():
    with pytest.raises(TwoFourError, match="tensorrt_sparse, which runs on NVIDIA GPUs only"):
        backends.target("tensorrt_sparse", Hardware(device="cpu", threads=1))


@pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_sparse", "paddle_trt"])
def test_a_gpu_backend_without_a_gpu_is_one_sentence(name, tmp_path):
    arguments = ("--model", tmp_path, "--backend", name, "--out", tmp_path / "out")
    done = program("build.py", *arguments, check=False)
    assert done.returncode == 1
    assert f"deploy.backends lists {name}, which needs an NVIDIA GPU" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_libraries_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # as if it were not installed
    with pytest.raises(TwoFourError, match=r"needs NVIDIA TensorRT 8\.5 to 11"):
        tensorrt.require("fp16")
    monkeypatch.setattr(paddle_trt, "_versions", lambda: ((0, 0, 0), (0, 0, 0)))
    with pytest.raises(TwoFourError, match="PaddlePaddle that was built with TensorRT"):
        paddle_trt.require("fp16")
    monkeypatch.setattr(paddle_trt, "_versions", lambda: ((8, 5, 3), (0, 0, 0)))
    with pytest.raises(TwoFourError, match=r"built for TensorRT 8\.5\.3, but no TensorRT"):
        paddle_trt.require("fp16")
    monkeypatch.setattr(paddle_trt, "_versions", lambda: ((8, 5, 3), (10, 3, 0)))
    with pytest.raises(TwoFourError, match=r"but the library found is 10\.3\.0"):
        paddle_trt.require("fp16")


def test_backends_load_without_the_libraries_that_they_use():
    libraries = ("paddle", "tensorrt", "cuda", "onnxruntime", "openvino")
    code = (
        "import sys\n"
        f"for name in {libraries!r}: sys.modules[name] = None\n"
        "from twofour.deploy import backends, cuda\n"
        f"for name in {BACKENDS!r}: backends.module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- profiles ---


def test_an_engine_for_each_batch_size_and_one_for_evaluation():
    made = profiles.make([32, 1, 8, 8], evaluation=64)
    assert [p.name for p in made] == ["bs1", "bs8", "bs32", "bs1-64"]
    assert profiles.choose(made, 8).name == "bs8"
    assert profiles.choose(made, 7).name == "bs1-64"
    with pytest.raises(TwoFourError, match="no engine was built for a batch of 65 images"):
        profiles.choose(made, 65)


def test_profiles_coincide_for_batches_of_one():
    assert [p.name for p in profiles.make([1], evaluation=1)] == ["bs1"]


def test_names_of_profiles_give_them_back():
    for profile in profiles.make([1, 256], evaluation=48):
        assert profiles.named(profile.name) == profile


# --- TensorRT's log ---

# Lines of TensorRT 8.x as users posted them (NVIDIA/TensorRT issues 1403, 2169, 4056), shortened.
LOG_8 = [
    "[08/05/2024-12:06:54] [I] [TRT] (Sparsity) Layers eligible for sparse math: MatMul_401, "
    "Conv_619 + Relu_620, Conv_234 + Add_240 + Relu_241, Conv_626",
    "[08/05/2024-12:06:54] [I] [TRT] (Sparsity) TRT inference plan picked sparse implementation "
    "for layers: Conv_619 + Relu_620",
]
LOG_8_NONE = [
    "[TensorRT] INFO: (Sparsity) Layers eligible for sparse math: Conv_0",
    "[TensorRT] INFO: (Sparsity) TRT inference plan picked sparse implementation for layers:",
]
# The format of TensorRT 10; the first two lines are from an earlier pass of the builder.
LOG_10 = [
    "(Sparsity) Found 1 layer(s) eligible to use sparse tactics: conv9",
    "(Sparsity) Chose 1 layer(s) using sparse tactics: conv9",
    "(Sparsity) Found 3 layer(s) eligible to use sparse tactics: conv1 + relu1, conv2, conv3",
    "(Sparsity) Chose 2 layer(s) using sparse tactics: conv1 + relu1, conv3",
]
LOG_10_COUNTS = [
    "(Sparsity) Found 39 layer(s) eligible to use sparse tactics",
    "(Sparsity) Chose 0 layer(s) using sparse tactics",
]


def test_log_of_tensorrt_8():
    found = sparsity_log.parse(LOG_8)
    assert found["eligible"] == [
        "MatMul_401",
        "Conv_619 + Relu_620",
        "Conv_234 + Add_240 + Relu_241",
        "Conv_626",
    ]
    assert found["picked"] == ["Conv_619 + Relu_620"]
    none = sparsity_log.parse(LOG_8_NONE)
    assert (none["eligible_count"], none["picked_count"], none["picked"]) == (1, 0, [])


def test_log_of_tensorrt_10_counts_and_the_last_pass_counts():
    found = sparsity_log.parse(LOG_10)
    assert (found["eligible_count"], found["picked_count"]) == (3, 2)
    assert found["picked"] == ["conv1 + relu1", "conv3"]
    counts = sparsity_log.parse(LOG_10_COUNTS)
    assert (counts["eligible_count"], counts["eligible"]) == (39, None)
    assert (counts["picked_count"], counts["picked"]) == (0, [])


def test_names_as_tensorrt_8_gave_them_on_an_h100():
    rounded = "layer3.1.conv2.weight.float + layer3.1.conv2.weight.int8.QuantizeLinear"
    picked = [
        "layer3.0.shortcut.conv + node_of_Add60 + node_of_Relu61",
        f"{rounded} + layer3.1.conv2 + node_of_Relu65",
    ]
    engines = {"bs32": {"eligible": picked, "picked": picked[1:]}}
    layers = ["layer3.0.shortcut.conv", "layer3.1.conv2", "layer3.1.conv3"]
    assert list(sparsity_log.sparse_layers({"engines": engines}, layers).values()) == [
        (True, False),
        (True, True),
        (False, False),
    ]


def test_silent_log_is_not_a_count_of_zero():
    assert set(sparsity_log.parse(["Detected 1 inputs"]).values()) == {None}


def test_layers_of_the_network_from_fused_names():
    engines = {
        "bs1": sparsity_log.parse(
            [
                "(Sparsity) Layers eligible for sparse math: layer1.0.conv1 + p2o.Relu.1, "
                "layer1.0.conv2 || layer1.0.shortcut.conv",
                "(Sparsity) TRT inference plan picked sparse implementation for layers:",
            ]
        ),
        "bs8": sparsity_log.parse(
            [
                "(Sparsity) Layers eligible for sparse math: layer1.0.conv1 + p2o.Relu.1",
                "(Sparsity) TRT inference plan picked sparse implementation for layers: "
                "layer1.0.conv1 + p2o.Relu.1",
            ]
        ),
    }
    layers = ["layer1.0.conv1", "layer1.0.conv2", "layer1.0.shortcut.conv", "classifier"]
    assert sparsity_log.sparse_layers({"engines": engines}, layers) == {
        "layer1.0.conv1": (True, True),
        "layer1.0.conv2": (True, False),
        "layer1.0.shortcut.conv": (True, False),
        "classifier": (False, False),
    }
    assert sparsity_log.sparse_layers({}, layers) is None


# --- an artifact from another machine ---


@pytest.fixture
def exported(tmp_path):
    """A folder with a tiny ONNX model."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    weight = numpy_helper.from_array(np.eye(3, dtype="float32"), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, ["N", 3])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
        [weight],
    )
    opsets = [helper.make_opsetid("", 13)]
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=8), str(folder / "model.onnx")
    )
    return folder


def test_build_for_another_machine_is_built_again_and_kept(exported, tmp_path, monkeypatch, caplog):
    machine = hardware.Machine("cpu", "some CPU", 1)
    out = tmp_path / "built"
    monkeypatch.setattr(onnxruntime, "identity", lambda _: {"gpu": "A100"})
    first = build.build("onnxruntime", "fp32", exported, out, machine, profiles.make([1], 4))
    assert first["identity"] == {"gpu": "A100"} and first["batches"] == [[1, 1], [1, 4]]
    assert build.load(exported, out, machine)[1] == first

    monkeypatch.setattr(onnxruntime, "identity", lambda _: {"gpu": "H100"})
    before = (out / "build.json").read_bytes()
    with caplog.at_level("WARNING", logger="twofour"):
        _, second = build.load(exported, out, machine)
    assert "was built for gpu A100, and this machine has gpu H100: building again" in caplog.text
    assert second["identity"] == {"gpu": "H100"} and second["batches"] == first["batches"]
    assert (out / "build.json").read_bytes() == before  # the artifact of the other machine stays
    (again,) = out.glob("*/build.json")
    stamp = again.stat().st_mtime_ns
    assert build.load(exported, out, machine)[1] == json.loads(again.read_text())
    assert again.stat().st_mtime_ns == stamp  # built only once

    monkeypatch.setattr(onnxruntime, "identity", lambda _: {"gpu": "A100"})
    assert build.load(exported, out, machine)[1] == first


def test_build_of_another_model_is_refused(exported, tmp_path):
    machine = hardware.Machine("cpu", "some CPU", 1)
    build.build("onnxruntime", "fp32", exported, tmp_path / "built", machine)
    with (exported / "model.onnx").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(TwoFourError, match="was not built from the present"):
        build.load(exported, tmp_path / "built", machine)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_corrupt_onnx_is_one_sentence(name, exported, tmp_path):
    (exported / "model.onnx").write_bytes(b"junk")
    machine = hardware.Machine("cpu", "some CPU", 1)
    with pytest.raises(TwoFourError, match=f"{name} cannot load"):
        build.build(name, "fp32", exported, tmp_path / "built", machine)


@pytest.mark.parametrize(("program", "weights"), [(b"", b""), (b"junk", b"junk"), (b"junk", None)])
def test_corrupt_paddle_model_is_one_sentence(program, weights, tmp_path):
    (tmp_path / "model.pdmodel").write_bytes(program)
    if weights is not None:
        (tmp_path / "model.pdiparams").write_bytes(weights)
    machine = hardware.Machine("cpu", "some CPU", 1)
    with pytest.raises(TwoFourError, match=r"cannot (read|load) .*model\.pdmodel: "):
        backends.module("paddle").load(tmp_path, tmp_path, "fp32", machine)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_batch_that_fails_is_one_sentence(name, exported, tmp_path):
    """As on a GPU whose memory does not suffice."""
    machine = hardware.Machine("cpu", "some CPU", 1)
    predict = backends.module(name).load(exported, tmp_path, "fp32", machine)
    with pytest.raises(TwoFourError, match=f"{name} could not run a batch of 2 images: "):
        predict(np.zeros((2, 5), np.float32))


def test_openvino_agrees_with_onnxruntime_at_changing_batch_sizes(exported, tmp_path):
    machine = hardware.Machine("cpu", "some CPU", 1)
    shape = _shape(exported)
    ours, reference = (
        backends.module(name).load(exported, tmp_path, "fp32", machine)
        for name in ("openvino", "onnxruntime")
    )
    for images in (1, 3, 1):
        batch = np.random.default_rng(images).standard_normal((images, *shape)).astype(np.float32)
        np.testing.assert_allclose(ours(batch), reference(batch), atol=1e-5)


BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(not BF16, reason="this processor does not compute in bf16")
def test_openvino_computes_in_bf16_where_it_says_so(exported, tmp_path):
    machine = hardware.Machine("cpu", "some CPU", 1)
    batch = np.random.default_rng(0).standard_normal((4, *_shape(exported))).astype(np.float32)
    exact, half = (
        backends.module("openvino").load(exported, tmp_path, precision, machine)(batch)
        for precision in ("fp32", "bf16")
    )
    assert 1e-6 < np.abs(exact - half).max() < 0.05


def test_bf16_is_refused_before_any_work_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"], raising=False)
    lacking = backends.lacks([("openvino", "bf16")], Hardware())
    assert "no bf16 arithmetic in this processor" in lacking["openvino"]
    assert backends.lacks([("openvino", "fp32"), ("paddle", "fp32")], Hardware()) == {}


def _shape(model):
    import onnx

    dimensions = onnx.load(str(model / "model.onnx")).graph.input[0].type.tensor_type.shape.dim
    return [d.dim_value for d in dimensions[1:]]
