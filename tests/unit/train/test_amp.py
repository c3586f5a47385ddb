"""Mixed precision, tested on the program itself: no GPU is needed to see its types."""

from twofour.network import scope
from twofour.sparse import asp
from twofour.system import hardware, paddle_versions
from twofour.system.errors import TwoFourError
from twofour.train import amp, parallel, precision, training_graph

import numpy as np
import paddle
import pytest
from plans import plan

HALVES = {"amp_fp16": "fp16", "amp_bf16": "bf16", "pure_fp16": "fp16"}
CHANNELS = {"model": {"input_channels": 4}}
SPARSE = ["layer1.0.conv2.weight", "layer2.0.conv1.weight"]


def network():
    return plan(CHANNELS, classes=10).network


CUDA = paddle.is_compiled_with_cuda()


def built(precision, group=None, sparse=SPARSE, accumulation=1, **train):
    changes = {"train": {**train, "layout": "NHWC", "accumulation": accumulation}}
    given = plan(CHANNELS, changes, classes=10, precision=precision, group=group)
    return training_graph.build(given, lambda step: 0.1, sparse)


def kinds(main, op_type, slot, output=False):
    """Data types that all operators of a kind read (or write) in a slot."""
    block = main.global_block()
    ops = [op for op in block.ops if op.type == op_type]
    assert ops, op_type
    names = [(op.output if output else op.input)(slot)[0] for op in ops]
    return {amp._NAMES[block.var(name).dtype] for name in names}


def numbers(main, op_type):
    return [i for i, op in enumerate(main.global_block().ops) if op.type == op_type]


@pytest.mark.parametrize("precision", HALVES)
def test_what_runs_in_half_precision_and_what_does_not(precision):
    main, half = built(precision).main, HALVES[precision]
    for op, slot in (("conv2d", "Input"), ("conv2d", "Filter"), ("mul", "X"), ("relu", "X")):
        assert kinds(main, op, slot) == {half}
    assert kinds(main, "conv2d_grad", "Output@GRAD") == {half}
    # Batch norm reads and writes features in half precision, and computes in fp32 with these:
    for slot in ("Scale", "Bias", "Mean", "Variance"):
        assert kinds(main, "batch_norm", slot) == {"fp32"}
    for slot in ("SavedMean", "SavedVariance", "MeanOut", "VarianceOut"):
        assert kinds(main, "batch_norm", slot, output=True) == {"fp32"}
    assert kinds(main, "softmax_with_cross_entropy", "Logits") == {"fp32"}
    assert kinds(main, "softmax_with_cross_entropy", "Loss", output=True) == {"fp32"}
    block = main.global_block()
    assert amp._NAMES[block.var(training_graph.LOSS_SUM).dtype] == "fp64"
    assert kinds(main, "isfinite_v2", "X") == {"fp64"}


@pytest.mark.parametrize(
    ("precision", "dynamic", "expected"),
    [
        ("amp_fp16", True, (True, True)),
        ("amp_fp16", False, (True, False)),
        ("pure_fp16", True, (True, True)),
        ("amp_bf16", True, (False, False)),
        ("fp32", True, (False, False)),
    ],
)
def test_loss_scaling(precision, dynamic, expected):
    step = built(precision, dynamic_loss_scaling=dynamic, loss_scale=64)
    found = tuple(
        bool(numbers(step.main, op)) for op in ("check_finite_and_unscale", "update_loss_scaling")
    )
    assert found == expected
    assert (step.loss_scale is not None) == expected[0]
    if expected[0]:
        assert step.loss_scale in step.state  # so that a resumed training continues with it
        executor = paddle.static.Executor(paddle.CPUPlace())
        step.start(executor, paddle.CPUPlace())
        assert scope.read([step.loss_scale])[step.loss_scale] == [64]
        assert max(numbers(step.main, "check_finite_and_unscale")) < min(
            numbers(step.main, "momentum")
        )


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
def test_masking_follows_the_update(precision):
    step = built(precision)
    block = step.main.global_block()
    for name in SPARSE:
        held = [name, *([step.master[name]] if name in step.master else [])]
        update = [i for i in numbers(step.main, "momentum") if name in block.ops[i].input("Param")]
        for weight in held:
            last = max(i for i, op in enumerate(block.ops) if weight in op.output_arg_names)
            assert last > update[0]
    assert set(step.master) >= set(SPARSE) or precision != "pure_fp16"


def test_masks_hold_on_master_weights_in_pure_fp16():
    """Only the operators after the updates run: fp16 updates cannot run on a CPU, masking can."""
    step = built("pure_fp16")
    place = paddle.CPUPlace()
    executor = paddle.static.Executor(place)
    step.start(executor, place)
    names = [step.master[name] for name in SPARSE]
    shapes = {name: w.shape for name, w in scope.read(names).items()}
    rng = np.random.default_rng(0)
    drifted = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    masks = {n: (rng.random(shapes[step.master[n]]) < 0.5) for n in SPARSE}
    scope.write(drifted, place)
    scope.write({asp.mask_name(n): m.astype(np.float32) for n, m in masks.items()}, place)
    tail = step.main.clone()
    for index in reversed(range(max(numbers(tail, "momentum")) + 1)):
        tail.global_block()._remove_op(index, sync=False)
    for index in reversed(numbers(tail, "elementwise_mul")):  # those of paddle.incubate.asp, fp16
        if tail.global_block().ops[index].output("Out")[0] in SPARSE:
            tail.global_block()._remove_op(index, sync=False)
    tail._sync_with_cpp()
    executor.run(tail)
    for name in SPARSE:
        master = step.master[name]
        found = scope.read([master])[master]
        np.testing.assert_array_equal(found, drifted[master] * masks[name])


def test_pure_fp16_starts_from_the_same_weights():
    place = paddle.CPUPlace()
    step = built("pure_fp16")
    step.start(paddle.static.Executor(place), place)
    for name, master in step.master.items():
        half, whole = (scope.read([n])[n] for n in (name, master))
        assert (half.dtype, whole.dtype) == (np.float16, np.float32)
        np.testing.assert_array_equal(half, whole.astype(np.float16))
    assert set(step.master) == {*(c.weight for c in network().convs), "classifier.weight"} | {
        n for n in step.master if n == "classifier.bias"
    }


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
def test_the_program_tells_its_precision(precision):
    step = built(precision)
    assert step.precision == precision
    kind = HALVES.get(precision, "fp32")
    assert amp.arithmetic(step.main)["conv2d"] == {kind: 17}


def test_tf32_is_told_apart_from_fp32():
    main = built("fp32").main
    names = [conv.weight for conv in network().convs]
    assert amp.precision(main, names, tf32=True) == "tf32"
    assert amp.precision(main, names, tf32=False) == "fp32"


@pytest.mark.skipif(CUDA, reason="this PaddlePaddle knows by itself what runs in fp16")
def test_silent_fp32_does_not_pass_for_mixed_precision(monkeypatch):
    """PaddlePaddle falls back to fp32 by itself where it finds no operator for fp16 (CPUs)."""
    monkeypatch.setattr(amp, "OPERATORS", set())
    assert built("amp_fp16").precision == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "amp_fp16", "pure_fp16"])
def test_gradients_are_averaged_before_they_are_unscaled_and_used(precision):
    """So that all processes see the same overflow, and take the same step."""
    step = built(precision, group=parallel.Group(0, 2, paddle.CPUPlace()))
    averaged = numbers(step.main, paddle_versions.all_reduce())
    assert len(averaged) == (2 if precision == "pure_fp16" else 1)  # one for each type of gradient
    users = numbers(step.main, "check_finite_and_unscale") + numbers(step.main, "momentum")
    assert max(averaged) < min(users)


def test_accumulation_updates_once_for_several_batches():
    step = built("amp_fp16", accumulation=3)
    assert numbers(step.main, "momentum") and not numbers(step.partial, "momentum")
    assert not numbers(step.partial, "update_loss_scaling")
    assert len(numbers(step.partial, "conv2d_grad")) == len(numbers(step.main, "conv2d_grad"))


@pytest.mark.parametrize(
    ("capability", "offered"),
    [
        ((6, 1), ("fp32",)),
        ((7, 5), ("amp_fp16", "pure_fp16", "fp32")),
        ((8, 0), ("amp_fp16", "pure_fp16", "amp_bf16", "tf32", "fp32")),
    ],
)
def test_precisions_by_compute_capability(capability, offered):
    machine = hardware.Machine("gpu", "Some GPU", 1, capability=capability)
    assert precision.offered(machine) == offered
    assert precision.choose("auto", machine) == offered[0]
    for name in {"fp32", "tf32", "amp_fp16", "amp_bf16", "pure_fp16"} - set(offered):
        with pytest.raises(TwoFourError, match=f"is {name}, but training on this gpu .Some GPU."):
            precision.choose(name, machine)
