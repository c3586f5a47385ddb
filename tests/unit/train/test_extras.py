"""What is off by default: averaged weights, accumulation, other crop sizes, given weights."""

import json
import pickle
import signal
from dataclasses import replace

from twofour import config
from twofour.network import architecture, scope, weights
from twofour.sparse import pattern
from twofour.system.errors import TwoFourError
from twofour.train import recipe, training_graph

import numpy as np
import paddle
import pytest
from conftest import TINY, merged
from conftest import program as run_program
from plans import plan
from trainings import rows, started, state, train


def step_program(accumulation=1, layout="NCHW", **train_settings):
    given = plan({"train": {**train_settings, "layout": layout, "accumulation": accumulation}})
    network, step = given.network, training_graph.build(given, lambda step: 0.1)
    place = paddle.CPUPlace()
    executor = paddle.static.Executor(place)
    step.start(executor, place)
    return step, executor, network


def batch(seed=0, images=4):
    rng = np.random.default_rng(seed)
    pictures = rng.normal(size=(images, 3, 32, 32)).astype(np.float32)
    return {architecture.IMAGES: pictures, training_graph.LABELS: np.arange(images) % 2}


def moved(network):
    return scope.read([*(c.weight for c in network.convs), "classifier.weight"])


# --- gradient accumulation ---


def test_accumulated_gradients_are_averaged_not_summed():
    """The same batch three times gives the update of that batch once."""
    step, executor, network = step_program()
    executor.run(step.main, feed=batch())
    once = moved(network)
    step, executor, network = step_program(accumulation=3)
    before = moved(network)
    for part in (step.partial, step.partial):
        executor.run(part, feed=batch())
        assert all((moved(network)[n] == w).all() for n, w in before.items())
    executor.run(step.main, feed=batch())
    for name, weight in moved(network).items():
        np.testing.assert_allclose(weight, once[name], rtol=1e-5, atol=1e-7)
        assert (weight != before[name]).any()


def test_accumulation_starts_anew_with_each_step():
    step, executor, _ = step_program(accumulation=2)
    for _ in range(2):
        executor.run(step.partial, feed=batch())
        executor.run(step.main, feed=batch(1))
        sums = scope.read([v.name for v in step.main.list_vars() if "gradient_sum" in v.name])
        assert sums and not any(total.any() for total in sums.values())


# --- moving average ---


def test_average_follows_its_formula():
    step, executor, network = step_program(ema=0.9)
    names = [network.convs[3].weight, f"{network.convs[3].norm}.mean", "classifier.bias"]
    expected = {name: w.astype(np.float64) for name, w in scope.read(names).items()}
    averages = {step.averages[n]: w.astype(np.float32) for n, w in expected.items()}
    scope.write(averages, paddle.CPUPlace())
    for update in range(5):
        decay = recipe.ema_decay(update, 0.9)
        feed = {**batch(update), training_graph.EMA_DECAY: np.array([decay], np.float32)}
        executor.run(step.main, feed=feed)
        for name, now in scope.read(names).items():
            expected[name] = decay * expected[name] + (1 - decay) * now
    for name, value in expected.items():
        found = scope.read([step.averages[name]])[step.averages[name]]
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-7)


def test_decay_grows_to_the_one_that_is_asked_for():
    assert recipe.ema_decay(0, 0.999) == pytest.approx(0.1)
    assert recipe.ema_decay(90, 0.999) == pytest.approx(0.91)
    assert recipe.ema_decay(10**6, 0.999) == 0.999


def test_averaged_weights_are_what_is_saved_and_stay_sparse(prepared, pruned, tmp_path):
    changes = {"train": {"ema": 0.9, "epochs": 4}}
    train(prepared, tmp_path / "averaged", changes, start=pruned)
    train(prepared, tmp_path / "plain", {"train": {"epochs": 4}}, start=pruned)
    averaged, plain = (weights.load(tmp_path / n / "model.pdparams") for n in ("averaged", "plain"))
    assert any((averaged[n] != plain[n]).any() for n in plain)
    # The training itself is the same: only the weights taken from it differ.
    assert (
        rows(tmp_path / "averaged").split("\n")[1].split(",")[2]
        == (rows(tmp_path / "plain").split("\n")[1].split(",")[2])
    )
    report = json.loads((tmp_path / "averaged" / "sparsity.json").read_text())
    names = [layer["name"] for layer in report["layers"] if layer["sparse"]]
    assert len(names) == 16 and all(pattern.holds(averaged[name]) for name in names)


# --- sizes ---


def test_size_by_epoch():
    data = config.validated({"data": {"train_size": [[1, 128], [3, 160], [5, 224]]}}).data
    assert [recipe.train_size(epoch, data) for epoch in range(6)] == [128, 128, 160, 160, 224, 224]
    assert recipe.train_size(7, replace(data, train_size=176)) == 176
    assert recipe.train_size(7, replace(data, train_size=None)) == data.image_size


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([[2, 128]], "begins with epochs 2: the first must be 1"),
        ([[1, 128], [1, 160]], "each later than the one before"),
        ([[1, 4]], "has the size 4; it must be from 8 to 1024"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    with pytest.raises(TwoFourError, match=message):
        config.validated({"data": {"train_size": sizes}})


def test_training_below_the_size_of_the_evaluation(prepared, dense, tmp_path):
    train(prepared, tmp_path, {"data": {"train_size": 24}})
    assert state(tmp_path) != state(dense)
    assert json.loads((tmp_path / "train.json").read_text())["val_images"] == 40


# --- all of it, resumed ---

ALL = {
    "train": {
        **{"epochs": 8, "batch_size": 4, "accumulation": 2, "ema": 0.95},
        **{"mixup": 0.2, "cutmix": 1, "keep": "best", "head_factor": 3, "class_weights": "auto"},
        **{"sampling": "balanced"},
    },
    "data": {"train_size": [[1, 24], [4, 28], [7, 32]], "augment": "randaugment"},
}


def test_resumed_equals_uninterrupted_with_all_extras(prepared, tmp_path):
    said = train(prepared, tmp_path / "whole", ALL).stderr
    assert said.count("training crops of") == 2 and "epoch 4: training crops of 28×28" in said
    running = started(prepared, tmp_path / "out", ALL)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert "resuming at epoch" in train(prepared, tmp_path / "out", ALL).stderr
    assert state(tmp_path / "out") == state(tmp_path / "whole")
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


# --- layout ---


@pytest.mark.parametrize("accumulation", [1, 2])
def test_both_layouts_compute_the_same(accumulation):
    """Same weights and batches, images transposed: oneDNN in both, against NCHW without oneDNN."""
    losses = {}
    for case in ("NCHW", "NHWC", "plain"):
        layout = "NCHW" if case == "plain" else case
        step, executor, network = step_program(layout=layout, accumulation=accumulation)
        before = moved(network)
        parts = [step.main] if accumulation == 1 else [step.partial, step.main]
        for part in parts if case == "plain" else ():
            for op in part.global_block().ops:
                if op.has_attr("use_mkldnn"):
                    op._set_attr("use_mkldnn", False)
        for number, part in enumerate(parts):
            feed = batch(number, images=32)
            if layout == "NHWC":
                turned = feed[architecture.IMAGES].transpose(0, 2, 3, 1)
                feed[architecture.IMAGES] = np.ascontiguousarray(turned)
            found = executor.run(part, feed=feed, fetch_list=[step.loss])
        moves = {name: weight - before[name] for name, weight in moved(network).items()}
        losses[case] = (float(found[0][0]), moves)
    for case in ("NCHW", "NHWC"):
        assert losses[case][0] == pytest.approx(losses["plain"][0], rel=1e-5)
        for name, move in losses["plain"][1].items():
            difference = np.linalg.norm(losses[case][1][name] - move) / np.linalg.norm(move)
            assert difference < 0.02, (case, name)


def test_nhwc_trains(prepared, tmp_path):
    train(prepared, tmp_path, {"train": {"layout": "NHWC"}})
    assert json.loads((tmp_path / "train.json").read_text())["layout"] == "NHWC"


# --- given weights ---

STILL = {"train": {"learning_rate": 1e-6, "epochs": 1, "warmup_epochs": 0}}


def given(path):
    return {"train": {**STILL["train"], "init": str(path)}}


def test_training_starts_from_given_weights(prepared, dense, tmp_path):
    train(prepared, tmp_path, given(dense / "model.pdparams"))
    before = weights.load(dense / "model.pdparams")
    after = weights.load(tmp_path / "model.pdparams")
    for name in before:
        if not name.endswith((".mean", ".variance")):
            np.testing.assert_allclose(after[name], before[name], atol=1e-5)


def test_classifier_for_other_classes_starts_anew(prepared, dense, tmp_path):
    other = weights.load(dense / "model.pdparams")
    other["classifier.weight"] = np.ones((other["classifier.weight"].shape[0], 7), np.float32)
    other["classifier.bias"] = np.ones(7, np.float32)
    weights.save(tmp_path / "other.pdparams", other)
    done = train(prepared, tmp_path / "out", given(tmp_path / "other.pdparams"))
    assert "is for other classes, so the classifier is reinitialised" in done.stderr
    after = weights.load(tmp_path / "out" / "model.pdparams")
    assert after["classifier.weight"].shape[1] == 2
    np.testing.assert_allclose(after["stem.conv.weight"], other["stem.conv.weight"], atol=1e-5)


def test_unfit_weights_are_named(prepared, dense, tmp_path):
    lacking = weights.load(dense / "model.pdparams")
    lacking.pop("layer1.0.conv2.weight")
    weights.save(tmp_path / "lacking.pdparams", lacking)
    done = train(prepared, tmp_path / "out", given(tmp_path / "lacking.pdparams"), check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "lacks the weights layer1.0.conv2.weight" in done.stderr
    half = weights.load(dense / "model.pdparams")
    half.pop("classifier.bias")
    weights.save(tmp_path / "half.pdparams", half)
    done = train(prepared, tmp_path / "out", given(tmp_path / "half.pdparams"), check=False)
    assert done.returncode == 1 and "lacks the weights classifier.bias" in done.stderr
    wide = {"model": {"width": 0.25}}
    done = train(prepared, tmp_path / "out", given(dense / "model.pdparams"), wide, check=False)
    assert done.returncode == 1 and "with shape" in done.stderr and "train.init" in done.stderr


class Evil:
    def __reduce__(self):
        return (exec, ("open('pwned', 'w')",))


def test_no_code_of_a_weights_file_is_run(prepared, tmp_path):
    (tmp_path / "evil.pdparams").write_bytes(pickle.dumps({"stem.conv.weight": Evil()}))
    config_text = json.dumps(merged(TINY, given(tmp_path / "evil.pdparams")))
    done = run_program(
        *("train.py", "--config", config_text, "--data", prepared, "--out", tmp_path / "out"),
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "is not a usable weights file" in done.stderr
    assert not (tmp_path / "pwned").exists()
