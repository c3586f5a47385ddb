"""The independent checker on files of all kinds: sparse, not sparse, foreign and damaged."""

import json
import os
import pickle
import shutil
import subprocess
import sys

from twofour.network import weights
from twofour.sparse import check, masks
from twofour.system.errors import TwoFourError

import numpy as np
import onnx
import paddle
import pytest
from conftest import ROOT, SCRIPTS, program
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def sparse(*shape):
    weight = RNG.standard_normal(shape).astype("float32")
    return (weight * masks.mask_1d(weight)).astype("float32")


def dense(*shape):
    return RNG.standard_normal(shape).astype("float32")


def onnx_file(path, nodes, tensors, rank=4):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [None] * rank)],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def verdicts(path, required=None):
    return {v.name: v for v in check.check(check.read(path).layers, required)}


def test_onnx_convolutions(tmp_path):
    broken = sparse(8, 8, 3, 3)
    broken[1, 4:7, 2, 2] = 1
    conv = helper.make_node
    nodes = [
        conv("Conv", ["x", "stem"], ["a"]),
        conv("Conv", ["a", "good"], ["b"]),
        conv("Conv", ["b", "bad"], ["y"]),
    ]
    tensors = {"stem": dense(8, 3, 3, 3), "good": sparse(8, 8, 1, 1), "bad": broken}
    found = verdicts(onnx_file(tmp_path / "m.onnx", nodes, tensors))
    assert {n: (v.eligible, v.passed) for n, v in found.items()} == {
        "stem": (False, True),
        "good": (True, True),
        "bad": (True, False),
    }
    assert (found["bad"].broken, found["bad"].groups) == (1, 8 * 2 * 9)
    assert found["good"].density == 0.5


def test_onnx_matrices_have_their_inputs_where_the_operator_says(tmp_path):
    linear = sparse(8, 12)  # [in, out]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Gemm", ["a", "t"], ["b"], transB=1),
        helper.make_node("Gemm", ["b", "g"], ["y"]),
    ]
    tensors = {"w": linear, "t": sparse(12, 8).T.copy(), "g": sparse(8, 4)}
    found = verdicts(onnx_file(tmp_path / "m.onnx", nodes, tensors, rank=2))
    assert all(v.words == "2:4" for v in found.values()), found
    # The same numbers read the other way round are not 2:4.
    tensors = {"w": sparse(12, 8).T.copy(), "t": sparse(8, 12), "g": sparse(8, 4)}
    nodes[1] = helper.make_node("Gemm", ["a", "t"], ["b"], transB=1)
    found = verdicts(onnx_file(tmp_path / "n.onnx", nodes, tensors, rank=2))
    assert [v.passed for v in found.values()] == [False, False, True]


def test_onnx_weights_behind_other_nodes(tmp_path):
    quantised = np.where(sparse(8, 8, 1, 1) == 0, 3, 100).astype("uint8")  # zero point 3
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(sparse(8, 4, 1, 1))),
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node("Conv", ["x", "d"], ["a"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("Conv", ["a", "dq"], ["b"]),
        helper.make_node("Conv", ["b", "x"], ["y"]),  # not a weight: it depends on the input
    ]
    tensors = {"q": quantised, "scale": np.float32(0.1), "zero": np.uint8(3)}
    found = verdicts(onnx_file(tmp_path / "m.onnx", nodes, tensors))
    assert list(found) == ["d", "dq"]
    assert all(v.eligible and v.passed and v.density == 0.5 for v in found.values())


def test_quantised_operator_counts_from_its_zero_point(tmp_path):
    pattern = sparse(4, 4, 1, 1) != 0
    weight = np.where(pattern, 9, 5).astype("uint8")
    scalars = {"s": np.float32(1), "z": np.uint8(0), "wz": np.uint8(5), "w": weight}
    inputs = ["x8", "s", "z", "w", "s", "wz", "s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x8"]),
        helper.make_node("QLinearConv", inputs, ["y"]),
    ]
    found = verdicts(onnx_file(tmp_path / "m.onnx", nodes, scalars))
    assert found["w"].passed and found["w"].density == 0.5


def test_constant_on_the_left_and_shared_weights(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["left", "x"], ["a"]),
        helper.make_node("Gemm", ["turned", "a"], ["b"], transA=1),
        helper.make_node("Gemm", ["b", "both"], ["c"]),
        helper.make_node("Gemm", ["c", "both"], ["y"], transB=1),
    ]
    both = sparse(8, 8)
    tensors = {"left": sparse(8, 8).T.copy(), "turned": sparse(8, 8), "both": both}
    layers = check.read(onnx_file(tmp_path / "m.onnx", nodes, tensors, rank=2)).layers
    found = [(v.name, v.passed) for v in check.check(layers)]
    assert found == [("left", True), ("turned", True), ("both", True), ("both", False)]
    tensors["left"] = dense(8, 8)
    layers = check.read(onnx_file(tmp_path / "n.onnx", nodes, tensors, rank=2)).layers
    assert not check.check(layers)[0].passed


def test_grouped_transposed_convolution_is_judged_by_group(tmp_path):
    weight = sparse(4, 4, 1, 1)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2)]
    found = verdicts(onnx_file(tmp_path / "m.onnx", nodes, {"w": weight}))
    assert not found["w"].eligible  # 2 inputs in each group


def test_eight_bit_floats_below_one_are_no_zeros(tmp_path):
    weight = np.full((8, 8), 0.25, "float32")
    tensor = helper.make_tensor("w8", TensorProto.FLOAT8E4M3FN, (8, 8), weight.ravel())
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    path = onnx_file(tmp_path / "m.onnx", nodes, {"s": np.float32(1)}, rank=2)
    model = onnx.load(str(path))
    model.graph.initializer.append(tensor)
    onnx.save(model, str(path))
    found = check.check(check.read(path).layers)
    assert all(v.density == 1 and not v.passed for v in found)


def test_what_no_known_operator_reads_is_named(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Einsum", ["a", "e"], ["y"], equation="ij,jk->ik"),
    ]
    path = onnx_file(tmp_path / "m.onnx", nodes, {"w": sparse(8, 8), "e": dense(8, 8)}, rank=2)
    assert check.read(path).unjudged == {"e": "Einsum reads it"}
    done = program("check.py", path, check=False)
    assert done.returncode == 1
    assert "could be a layer's weight, but could not be judged: e in" in done.stderr
    assert program("check.py", path, "--exclude", "e").returncode == 0


def test_circular_graph_ends(tmp_path):
    nodes = [
        helper.make_node("Identity", ["b"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("MatMul", ["x", "a"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    assert list(verdicts(onnx_file(tmp_path / "m.onnx", nodes, {"w": sparse(8, 8)}))) == ["w"]


class Foreign(paddle.nn.Layer):
    """A network that is not ours."""

    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv2D(4, 8, 3)
        self.up = paddle.nn.Conv2DTranspose(8, 4, 2)
        self.fc = paddle.nn.Linear(4, 10)

    def forward(self, x):
        return self.fc(self.up(self.conv(x)).mean(axis=[2, 3]))


@pytest.fixture
def foreign():
    paddle.disable_static()
    net = Foreign()
    net.conv.weight.set_value(sparse(8, 4, 3, 3))
    net.fc.weight.set_value(sparse(4, 10))
    yield net
    paddle.enable_static()


def test_foreign_pdparams(foreign, tmp_path):
    paddle.save(foreign.state_dict(), str(tmp_path / "m.pdparams"))
    found = verdicts(tmp_path / "m.pdparams")
    assert found["conv.weight"].words == found["fc.weight"].words == "2:4"
    assert "bias" not in " ".join(found)


def test_foreign_paddle_model(foreign, tmp_path):
    spec = [paddle.static.InputSpec([None, 4, 8, 8], "float32")]
    paddle.jit.save(foreign, str(tmp_path / "net"), input_spec=spec)
    found = {v.operator: v for v in check.check(check.read(tmp_path).layers)}
    assert found["conv2d"].passed and found["matmul_v2"].passed
    assert not found["conv2d_transpose"].passed  # [in, out, kh, kw]: the groups run along axis 0
    assert found["conv2d_transpose"].groups == 8 // 4 * 4 * 2 * 2


def test_program_prints_a_table_and_fails_on_a_broken_layer(tmp_path):
    weights.save(tmp_path / "m.pdparams", {"good": sparse(8, 8), "bad": dense(8, 8, 1, 1)})
    done = program("check.py", tmp_path / "m.pdparams", check=False)
    assert done.returncode == 1
    assert "BREAKS 2:4" in done.stdout and "Traceback" not in done.stderr
    assert f"not 2:4 sparse: bad in {tmp_path / 'm.pdparams'}" in done.stderr
    out = tmp_path / "report.json"
    exclude = ("--exclude", "b*", "--exclude", "goo?")
    program("check.py", tmp_path / "m.pdparams", *exclude, "--out", out)
    (file,) = json.loads(out.read_text())
    assert {row["name"]: row["passed"] for row in file["layers"]} == {"good": True, "bad": True}


def test_program_requires_what_a_report_calls_sparse(tmp_path):
    weights.save(tmp_path / "m.pdparams", {"a": sparse(8, 8), "b": dense(8, 8)})
    for names, status in ((["a"], 0), (["a", "b"], 1), (["a", "c"], 1)):
        rows = [{"name": n, "sparse": True, "reason": ""} for n in names]
        (tmp_path / "s.json").write_text(json.dumps({"layers": rows}))
        done = program(
            *("check.py", tmp_path / "m.pdparams", "--sparsity", tmp_path / "s.json"),
            check=False,
        )
        assert done.returncode == status, done.stderr
    assert "has no weight c" in done.stderr


@pytest.mark.parametrize("name", ["m.onnx", "m.pdmodel", "m.pdparams", "m.txt", "none.onnx"])
def test_damaged_and_unknown_files_give_a_sentence(tmp_path, name):
    if name != "none.onnx":
        (tmp_path / name).write_bytes(b"\x08\x01garbage" * 9)
        (tmp_path / "m.pdiparams").write_bytes(b"junk")
    with pytest.raises(TwoFourError, match=name) as caught:
        check.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_folder_without_a_model(tmp_path):
    with pytest.raises(TwoFourError, match="is a folder with no model; name the file"):
        check.read(tmp_path)
    (tmp_path / "a.pdparams").write_bytes(b"")
    with pytest.raises(TwoFourError, match=r"with a\.pdparams; name the file"):
        check.read(tmp_path)


# --- a proof or nothing: what went wrong in public reports, see tests/cases ---

CASES = ROOT / "tests" / "cases" / "models"


def judged(name, *exclude):
    """(exit status, {tensor: verdict}, tensors that were named as not judged)."""
    outcome = check.judge(str(CASES / name), None, list(exclude))
    verdicts = {v.name: v.words for v in outcome.verdicts}
    status = int(bool(outcome.unjudged) or not all(v.passed for v in outcome.verdicts))
    return status, verdicts, set(outcome.unjudged)


@pytest.mark.parametrize(
    ("name", "status", "verdicts", "unjudged"),
    [
        ("fp8_mixed.onnx", 1, {"ok": "2:4", "wd": "BREAKS 2:4 in 144 of 144 groups"}, set()),
        ("fp8_raw.onnx", 0, {"wd": "2:4"}, set()),
        ("fp8qdq_out.onnx", 0, {"wd": "2:4"}, set()),
        ("ms_quant.onnx", 1, {"ok": "2:4", "wd": "BREAKS 2:4 in 144 of 144 groups"}, set()),
        ("sparse_init.onnx", 1, {"ok": "2:4", "ws": "BREAKS 2:4 in 16 of 16 groups"}, set()),
        ("einsum_first.onnx", 1, {"w": "2:4"}, {"e"}),
        ("expand.onnx", 1, {"mm": "2:4"}, {"w"}),
        ("weight_input.onnx", 1, {"ok": "2:4"}, {"w"}),
        ("none_eligible.onnx", 0, {"st": "not eligible"}, set()),
    ],
)
def test_every_weight_is_judged_or_named(name, status, verdicts, unjudged):
    assert judged(name) == (status, verdicts, unjudged)


def test_weights_that_onnxruntime_reordered_are_named_as_such():
    outcome = check.judge(str(CASES / "ort_all_nchwc.onnx"), None, [])
    assert [v.name for v in outcome.verdicts] == ["fc.weight"]
    assert len(outcome.unjudged) == 7
    assert all("reordered by onnxruntime" in reason for reason in outcome.unjudged.values())


def test_excluded_by_name_of_tensor_or_node():
    status, verdicts, _ = judged("torch_folded_names.onnx", "/l?/down/*", "fc.weight")
    assert status == 0 and verdicts["onnx::Conv_91"] == "2:4"
    done = program("check.py", CASES / "torch_folded_names.onnx", check=False)
    assert "/l1/down/down.0/Conv" in done.stdout  # the node's name is shown
    assert judged("expand.onnx", "w")[0] == 0
    with pytest.raises(TwoFourError, match="--exclude"):
        judged("expand.onnx", "nothing")


def test_nothing_eligible_is_a_warning():
    done = program("check.py", CASES / "none_eligible.onnx")
    assert "no layer can be 2:4 sparse" in done.stderr and "nothing has been proven" in done.stderr


def test_external_data_that_are_cut_short_or_missing_are_named(tmp_path):
    done = program("check.py", CASES / "ext_short.onnx", check=False)
    assert done.returncode == 1
    assert "short.bin is cut short, it holds 0 of the 147456 bytes of big" in done.stderr
    shutil.copy(CASES / "ext_short.onnx", tmp_path)
    done = program("check.py", tmp_path / "ext_short.onnx", check=False)
    assert f"the file with its weights, {tmp_path}/short.bin, is missing" in done.stderr


@pytest.mark.parametrize("inside", ["body", "outer"])
def test_weights_in_subgraphs(tmp_path, inside):
    """In both branches of an If, stored there or outside."""
    value = helper.make_tensor_value_info
    tensors = {"w": dense(8, 8)}
    stored = [numpy_helper.from_array(a, n) for n, a in tensors.items()]

    def branch(name, weight, own):
        node = helper.make_node("MatMul", ["x", weight], [f"{name}_y"], name=f"{name}_node")
        end = [value(f"{name}_y", TensorProto.FLOAT, None)]
        return helper.make_graph([node], name, [], end, own)

    own = stored if inside == "body" else []
    good = [numpy_helper.from_array(sparse(8, 8), "good")]
    node = helper.make_node(
        "If",
        ["c"],
        ["y"],
        name="choice",
        then_branch=branch("then", "w", own),
        else_branch=branch("else", "good", good),
    )
    graph = helper.make_graph(
        [node],
        "g",
        [value("x", TensorProto.FLOAT, [1, 8]), value("c", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, None)],
        [] if inside == "body" else stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    found = verdicts(tmp_path / "m.onnx")
    prefix = "choice.then_branch/" if inside == "body" else ""
    assert not found[f"{prefix}w"].passed and found["choice.else_branch/good"].words == "2:4"


@pytest.mark.parametrize("known", [True, False])
def test_an_operator_that_cannot_be_computed_is_no_way_out(tmp_path, known):
    """A weight behind a foreign operator is named with the reason, and nothing is swallowed."""
    kind = ("Identity", "") if known else ("Scramble", "their.own")
    nodes = [
        helper.make_node(kind[0], ["w"], ["v"], domain=kind[1], name="first"),
        helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("Add", ["a", "bias"], ["y"]),
    ]
    tensors = {"w": sparse(8, 8), "bias": dense(4, 8)}
    contents = check.read(onnx_file(tmp_path / "m.onnx", nodes, tensors, rank=2))
    assert list(contents.others) == ["bias"]  # an addend is no layer's weight
    if known:
        assert contents.unjudged == {} and contents.layers[0].name == "v"
    else:
        assert "their.own.Scramble first reads it" in contents.unjudged["w"]
        assert "cannot be computed here" in contents.unjudged["w"]


def test_constant_node_is_stored_too(tmp_path):
    constant = numpy_helper.from_array(dense(8, 8))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=constant),
        helper.make_node("Mul", ["x", "c"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    contents = check.read(onnx_file(tmp_path / "m.onnx", nodes, {"w": sparse(8, 8)}, rank=2))
    assert contents.unjudged == {"c": "Mul reads it"}


@pytest.mark.parametrize(
    ("kind", "zero", "one"),
    [
        (17, 0x80, 0x38),
        (18, 0x00, 0x40),
        (19, 0x80, 0x3C),
        (20, 0x00, 0x40),
        (22, 0, 1),
        (23, 8, 2),
    ],
)
def test_small_types_are_decoded(kind, zero, one):
    """Zero (negative where there is one) and one, in FP8, INT4 and FP4."""
    from twofour.sparse import tensors

    proto = TensorProto(name="w", dims=[2, 2], data_type=kind)
    codes = [zero, one, one, zero]
    packed = [codes[0] | codes[1] << 4, codes[2] | codes[3] << 4]
    proto.raw_data = bytes(packed if tensors.bits(kind) == 4 else codes)
    values = tensors.decode(proto)
    assert values.tolist() == [[0, 1], [1, 0]] and np.count_nonzero(values) == 2
    assert tensors.round_to(np.array([0.99, 1e-9]), kind).tolist() == [1, 0]
    proto.raw_data = proto.raw_data[:-1]
    with pytest.raises(TwoFourError, match="cut short"):
        tensors.decode(proto)


def test_all_bytes_of_fp8_equal_onnxs_own_reading():
    from twofour.sparse import tensors

    codes = np.arange(256)
    theirs = {
        17: numpy_helper.float8e4m3_to_float32(codes, fn=True, uz=False),
        18: numpy_helper.float8e4m3_to_float32(codes, fn=True, uz=True),
        19: numpy_helper.float8e5m2_to_float32(codes, fn=False, uz=False),
        20: numpy_helper.float8e5m2_to_float32(codes, fn=True, uz=True),
    }
    for kind, expected in theirs.items():
        proto = TensorProto(name="w", dims=[256], data_type=kind, raw_data=bytes(range(256)))
        np.testing.assert_array_equal(tensors.decode(proto), expected)


def test_output_into_a_pipe_that_closes_and_onto_an_ascii_terminal(tmp_path):
    path = onnx_file(
        tmp_path / "M.ONNX", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": sparse(8, 8)}
    )
    line = f"{sys.executable} {SCRIPTS / 'check.py'} {path}; echo status $? >&2"
    done = subprocess.run(["bash", "-c", f"({line}) | true"], capture_output=True, text=True)
    assert "status 0" in done.stderr and "Error" not in done.stderr
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = program("check.py", path, env={**os.environ, **ascii_only})
    assert "8?8" in done.stdout


def test_pdparams_with_nested_mappings_and_tuples(tmp_path):
    nested = {"model": {"fc": ("linear_0.w_0", sparse(8, 8))}, "epoch": 3, "more": [dense(4, 8)]}
    with (tmp_path / "m.pdparams").open("wb") as file:
        pickle.dump(nested, file, protocol=2)
    found = verdicts(tmp_path / "m.pdparams")
    assert {n: v.passed for n, v in found.items()} == {"model.fc": True, "more.0": False}
