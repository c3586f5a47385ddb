"""int8 in the backends: what ran as integers, agreement, 2:4 in what is built, refusals."""

import shutil

from twofour.artifacts import ONNX, QUANTIZED
from twofour.deploy import backends, build
from twofour.deploy.backends import integers, onnxruntime
from twofour.network import architecture
from twofour.network.settings import Model
from twofour.quantization import forms, observe, onnx_graph
from twofour.sparse import check
from twofour.system import hardware
from twofour.system.errors import TwoFourError
from twofour.system.settings import Hardware

import numpy as np
import pytest
import quantised

CPU = hardware.Machine("cpu", "some CPU", 1)
NAMES = ("onnxruntime", "openvino", "paddle")
needs_vnni = pytest.mark.skipif(
    not hardware.integer_instructions(), reason="this processor has neither VNNI nor AMX"
)


def graph(folder):
    return onnx_graph.load(folder / QUANTIZED)


@needs_vnni
@pytest.mark.parametrize("name", NAMES)
def test_all_convolutions_run_as_integers_and_agree_with_floating_point(exported, tmp_path, name):
    record = build.build(name, "int8", exported, tmp_path, CPU)
    convs = [n for n in forms.quantised_layers(graph(exported)) if n.op_type == "Conv"]
    assert record["quantised_convolutions"] == len(convs) > 0
    assert record["sources"].keys() == set(backends.about(name).sources("int8"))
    size = (exported / ONNX).stat().st_size / 1e6
    assert record["size_mb"] < 0.5 * size
    predict, _ = build.load(exported, tmp_path, CPU)
    batch = quantised.images(64, seed=7)
    expected = observe.runner(graph(exported), ["probabilities"], 1)(batch)["probabilities"]
    found = np.concatenate([predict(batch[:40]), predict(batch[40:])])
    assert 0 < np.abs(found - expected).max() < 0.05
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.8  # its classes are close


@needs_vnni
@pytest.mark.parametrize("name", ["onnxruntime", "paddle"])
def test_what_is_built_is_2_4_sparse_and_has_the_same_bytes_twice(exported, tmp_path, name):
    kind = "resnet50" if "layer1.0.conv3.weight" in graph(exported).readers else "resnet18"
    network = architecture.resnet(Model(name=kind, width=0.25, blocks=[1, 2, 1, 2]), 4)
    listed = quantised.sparse_layers(network)
    for folder in (tmp_path / "a", tmp_path / "b"):
        build.build(name, "int8", exported, folder, CPU)
    build.require_sparse(tmp_path / "a", listed)
    written = sorted(p for p in (tmp_path / "a").iterdir() if p.suffix != ".json")
    assert written
    for path in written:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    with pytest.raises(TwoFourError, match=r"stem\.conv\.weight in .* is not 2:4 sparse"):
        build.require_sparse(tmp_path / "a", ["stem.conv.weight"])
    (model,) = (p for p in written if p.suffix in (".onnx", ".pdmodel"))
    layers = {layer.name: layer.weight for layer in check.read(model).layers}
    assert layers["layer1.0.conv1.weight"].dtype.kind in "if"
    assert set(listed) <= set(layers)


@needs_vnni
def test_a_network_whose_biases_are_zeros_is_proven_too(tmp_path):
    """OpenVINO drops them, and with them the name of the convolution."""
    folder = quantised.export(tmp_path / "model", blocks=[1, 1, 1, 1], biased=False)
    for name in NAMES:
        record = build.build(name, "int8", folder, tmp_path / name, CPU)
        assert record["quantised_convolutions"] == 17, name


@needs_vnni
def test_a_convolution_that_falls_back_to_floating_point_is_named(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime.forms, "for_onnxruntime", lambda given, limits: given)
    with pytest.raises(TwoFourError, match=r"onnxruntime computes stem\.conv, .* in floating"):
        build.build("onnxruntime", "int8", exported, tmp_path, CPU)


def test_the_proof_names_three_and_counts_the_others():
    assert integers.proof("x", ["a", "b"], {"a", "b"}) == {"quantised_convolutions": 2}
    with pytest.raises(TwoFourError, match="x computes a, b, c and 2 more of 6 quantised"):
        integers.proof("x", list("abcdef"), {"f"})


@needs_vnni
def test_excluded_layers_are_not_asked_for(exported, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    onnx_graph.write(folder / QUANTIZED, quantised.quantise(exported, ["stem.*", "layer2.0.*"]))
    counts = {
        name: build.build(name, "int8", folder, tmp_path / name, CPU)["quantised_convolutions"]
        for name in NAMES
    }
    convs = [n for n in forms.quantised_layers(graph(folder)) if n.op_type == "Conv"]
    assert set(counts.values()) == {len(convs)}


@pytest.mark.parametrize("name", NAMES)
def test_without_vnni_int8_is_refused_before_anything_runs(monkeypatch, name):
    monkeypatch.setattr(integers, "integer_instructions", set)
    reasons = backends.lacks([(name, "fp32"), (name, "int8")], Hardware(device="cpu"))
    assert f"{name} needs a processor with VNNI or AMX for it" in reasons[name]


@needs_vnni
@pytest.mark.parametrize("name", ["openvino", "paddle"])
def test_where_onednn_may_not_use_vnni_int8_is_refused(monkeypatch, name):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    with pytest.raises(TwoFourError, match=f"ONEDNN_MAX_CPU_ISA=avx2 keeps {name} from"):
        backends.module(name).require("int8")
    backends.module("onnxruntime").require("int8")  # which has no oneDNN


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (set(), [("paddle", "fp32"), ("onnxruntime", "fp32"), ("tensorrt", "fp32")]),
        (
            {"avx_vnni"},
            [
                *(("paddle", "fp32"), ("paddle", "int8")),
                *(("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("tensorrt", "fp32")),
            ],
        ),
    ],
)
def test_auto_takes_int8_where_the_processor_computes_in_it(monkeypatch, instructions, expected):
    monkeypatch.setattr(hardware, "integer_instructions", lambda: instructions)
    monkeypatch.setattr(hardware, "gpus", list)
    found = backends.cases(["paddle", "onnxruntime", "tensorrt"], "auto")
    assert [case for case in found if case != ("tensorrt", "int8")] == expected
    assert ("tensorrt", "int8") in found  # whatever this processor is


def test_auto_leaves_out_int8_where_the_backend_will_run_on_a_gpu_without_it(monkeypatch):
    monkeypatch.setattr(hardware, "integer_instructions", lambda: {"avx_vnni"})
    monkeypatch.setattr(hardware, "gpus", lambda: [{"name": "NVIDIA A100"}])
    found = backends.cases(["paddle", "openvino"], "auto")
    assert found == [("paddle", "fp32"), ("openvino", "fp32"), ("openvino", "int8")]


def test_a_backend_that_has_int8_on_another_device_says_so():
    with pytest.raises(TwoFourError, match="paddle on the gpu cannot do int8, only fp32"):
        backends.require_precision("paddle", "int8", "gpu")
