"""Weight files of other libraries.

The files in tests/cases/weights are of one small ResNet with random weights: transformers built it,
computed the logits in expected.npz and wrote transformers.safetensors; PyTorch wrote the others,
with torchvision's names.
"""

import io
import json
import pickle
import shutil
import struct
import zipfile

from twofour import config
from twofour.network import architecture, weights
from twofour.network.foreign import formats, names
from twofour.network.inference import Inference
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from conftest import ROOT, program

CASES = ROOT / "tests" / "cases" / "weights"
FILES = sorted(p.name for p in CASES.iterdir() if p.suffix != ".npz")
SMALL = {"name": "resnet18", "width": 0.125, "blocks": [1, 1, 1, 1]}


def network(classes=3, **model):
    return architecture.resnet(config.validated({"model": {**SMALL, **model}}).model, classes)


def read(path, built=None):
    built = built or network()
    return weights.initial(path, built)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", FILES)
def test_logits_are_those_of_the_library_that_made_the_weights(name, channels):
    assert len(FILES) == 4
    expected = np.load(CASES / "expected.npz")
    built = network(input_channels=channels)
    images = np.pad(expected["images"], [(0, 0), (0, channels - 3), (0, 0), (0, 0)])
    found = np.log(Inference(built, 32, "cpu").load(read(CASES / name, built))(images))
    logits = expected["logits"].astype(np.float64)
    wanted = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def renamed(library, built):
    """The state of ``built`` with random numbers as ``library`` would name it, and ours."""
    rng = np.random.default_rng(1)
    scheme = next(s for s in names.SCHEMES if s.library == library)
    shapes = {**built.weights, architecture.CLASSIFIER_BIAS: (built.classes,)}
    for conv in built.convs:
        shapes.update({f"{conv.norm}.{part}": (conv.outputs,) for part in architecture.NORM_PARTS})
    ours = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    table = names.table(scheme, built)
    theirs = {table[name]: array for name, array in ours.items()}
    if scheme.outputs_first:
        theirs[scheme.classifier[0]] = theirs[scheme.classifier[0]].T
    return theirs, ours


# Names as the libraries' own files have them.
NAMES = {
    "torchvision or timm": [
        *("conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "fc.weight"),
        *("layer1.0.downsample.1.running_mean", "layer3.22.conv3.weight", "layer4.2.bn2.bias"),
    ],
    "paddle.vision": [
        *("conv1.weight", "bn1._variance", "layer1.0.downsample.1._mean", "layer3.22.bn3.weight"),
    ],
    "transformers": [
        *("resnet.embedder.embedder.convolution.weight", "classifier.1.bias"),
        "resnet.embedder.embedder.normalization.running_mean",
        "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight",
        "resnet.encoder.stages.2.layers.22.layer.2.normalization.running_var",
    ],
    "PaddleClas": [
        *("stem.0.conv.weight", "stem.0.bn._mean", "blocks.0.short.conv.weight", "fc.weight"),
        *("blocks.29.conv2.bn._variance", "blocks.32.conv0.conv.weight"),
    ],
    "PaddleClas 2.0": [
        *("conv._conv.weight", "conv._batch_norm._mean", "bb_0_0.short._conv.weight", "out.bias"),
        *("bb_2_22.conv2._batch_norm.weight",),
    ],
    "PaddleHub or static PaddlePaddle": [
        *("conv1_weights", "bn_conv1_scale", "res2a_branch1_weights", "bn2a_branch1_offset"),
        *("res2c_branch2b_weights", "res4b22_branch2c_weights", "bn4a_branch2a_mean", "fc_0.b_0"),
    ],
}


@pytest.mark.parametrize("library", NAMES)
def test_every_library_is_recognised_by_its_names(library, tmp_path):
    built = network(classes=5, name="resnet101", width=0.125, blocks=None)
    theirs, ours = renamed(library, built)
    assert set(NAMES[library]) <= set(theirs)
    weights.save(tmp_path / "theirs.pdparams", theirs)
    found = read(tmp_path / "theirs.pdparams", built)
    assert found.keys() == ours.keys()
    assert all(np.array_equal(found[name], ours[name]) for name in ours)


def test_other_classes_leave_the_classifier_out(caplog):
    found = read(CASES / "torch.pth", network(classes=7))
    assert "stem.conv.weight" in found and architecture.CLASSIFIER not in found


def safetensors(path, tensors):
    """A file of float32 ``tensors``, written by hand."""
    header, body = {}, b""
    for name, array in tensors.items():
        content = np.asarray(array, np.float32).tobytes()
        offsets = [len(body), len(body) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        body += content
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)
    return path


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"conv1.0.weight": (8, 3, 3, 3)}, "a stem of three convolutions"),
        ({"layer1.0.se.fc1.weight": (2, 8, 1, 1)}, "squeeze-and-excitation"),
        ({"layer2.0.downsample.2.weight": (16,)}, "its shortcuts pool before they convolve"),
        ({"layer1.0.conv3.weight": (32, 8, 1, 1)}, "it has bottleneck blocks; set model.name"),
        ({"layer1.1.conv1.weight": (8, 8, 3, 3)}, "it is deeper or wider; set model.name"),
        ({"stages.0.blocks.0.norm1.weight": (8,)}, "pre-activation blocks"),
    ],
)
def test_networks_with_other_arithmetic_are_refused_by_name(extra, message, tmp_path):
    theirs, _ = renamed("torchvision or timm", network())
    theirs |= {name: np.zeros(shape, np.float32) for name, shape in extra.items()}
    with pytest.raises(TwoFourError, match=message):
        read(safetensors(tmp_path / "x.safetensors", theirs))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_type": "resnet", "downsample_in_bottleneck": True}, "is a ResNet v1 "),
        ({"model_type": "resnet", "hidden_act": "gelu"}, "another ResNet than ours"),
        ({"architecture": "resnetblur50"}, "resnetblur50, as .* says"),
        ({"architecture": "resnet18.a1_in1k"}, None),
        ({"model_type": "resnet", "downsample_in_bottleneck": False}, None),
    ],
)
def test_what_weights_do_not_show_is_read_from_the_file_beside_them(facts, message, tmp_path):
    path = shutil.copy(CASES / "transformers.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(facts))
    if message is None:
        assert read(path)
        return
    with pytest.raises(TwoFourError, match=message):
        read(path)


def test_names_of_another_network_are_told(tmp_path):
    path = safetensors(tmp_path / "vgg.safetensors", {"features.0.weight": np.zeros((3, 3))})
    with pytest.raises(TwoFourError, match=r"no ResNet whose names TwoFour knows \(features"):
        read(path)


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def torch_archive(path, pickled, **entries):
    with zipfile.ZipFile(path, "w", entries.pop("compression", zipfile.ZIP_STORED)) as archive:
        archive.writestr("a/data.pkl", pickled)
        for name, content in entries.items():
            archive.writestr(f"a/data/{name}", content)
    return path


def tensor_pickle(offset=0, size=(2,), stride=(1,), numel=2):
    """A pickle of {"w": tensor} as torch.save writes it, by opcodes."""

    stream = io.BytesIO()
    # protocol 2: GLOBAL 'torch._utils _rebuild_tensor_v2', its arguments, REDUCE
    stream.write(b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(")
    stream.write(
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    )
    stream.write(b"J" + struct.pack("<i", numel) + b"tQ")

    def integers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    stream.write(b"J" + struct.pack("<i", offset) + integers(size) + integers(stride))
    stream.write(b"\x89}tRs.")
    return stream.getvalue()


def test_a_tensor_written_by_hand_is_read(tmp_path):
    numbers = np.arange(6, dtype="<f4")
    path = torch_archive(
        tmp_path / "x.pth", tensor_pickle(1, (2, 2), (1, 2), 6), **{"0": numbers.tobytes()}
    )
    assert formats.read(path).arrays["w"].tolist() == [[1, 3], [2, 4]]  # a transposed view


@pytest.mark.parametrize(
    "given",
    [
        {"offset": 1},
        {"size": (3,)},
        {"size": (2, 1000000), "stride": (1, 0)},
        {"size": (-1,)},
        {"stride": (-1,)},
        {"offset": -1},
        {"numel": 1 << 30},
        {"size": (2,), "stride": ()},
    ],
)
def test_tensors_beyond_their_storage_are_refused(given, tmp_path):
    content = {"0": np.zeros(2, "<f4").tobytes()}
    path = torch_archive(tmp_path / "x.pth", tensor_pickle(**given), **content)
    with pytest.raises(TwoFourError, match=r"x\.pth is not a usable weights file"):
        formats.read(path)


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_are_one_sentence(name, tmp_path):
    content = (CASES / name).read_bytes()
    for part in (0.02, 0.5, 0.97):
        path = tmp_path / name
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(TwoFourError, match="is not a usable weights file"):
            formats.read(path)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    evil = pickle.dumps({"w": Evil()})
    (tmp_path / "a.pdparams").write_bytes(evil)
    torch_archive(tmp_path / "b.pth", evil)
    legacy = [formats._LEGACY_MAGIC, 1001, {}, {"w": Evil()}, []]
    (tmp_path / "c.pth").write_bytes(b"".join(pickle.dumps(part, 2) for part in legacy))
    torch_archive(
        tmp_path / "d.pth", tensor_pickle(), compression=zipfile.ZIP_DEFLATED, **{"0": b"x" * 8}
    )
    (tmp_path / "e.bin").write_bytes(b"hello, this is no weights file")
    (tmp_path / "f.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(TwoFourError, match=f"{path.name} is not a usable weights file"):
            formats.read(path)
    assert "executed" not in capsys.readouterr().out


def test_import_writes_our_file_of_any(tmp_path):
    settings = json.dumps({"model": SMALL})
    for name in FILES:
        out = tmp_path / f"{name}.pdparams"
        done = program("import_weights.py", "--config", settings, CASES / name, "--out", out)
        assert "3 classes" in done.stderr
    contents = {(tmp_path / f"{name}.pdparams").read_bytes() for name in FILES}
    assert len(contents) == 1  # the same weights, whoever wrote them
    done = program("import_weights.py", CASES / FILES[0], "--out", tmp_path / "x", check=False)
    assert done.returncode == 1 and "none of resnet18, resnet34" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "x").exists()
