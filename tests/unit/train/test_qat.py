"""Quantisation-aware training: gradients, masks, ranges, resuming, the file made of it."""

import json
import shutil
from dataclasses import dataclass, replace

from twofour.artifacts import CALIBRATION, ONNX, RANGES
from twofour.network import architecture, graph, scope, weights
from twofour.network.inference import Inference
from twofour.network.settings import Model
from twofour.quantization import calibration, fake, fold, forms, observe, onnx_graph
from twofour.sparse import masks, pattern
from twofour.system import files

import numpy as np
import paddle
import pytest
import sklearn.datasets
import trainings
from conftest import TINY, merged, program

NETWORK = architecture.resnet(Model(name="resnet50", width=0.125, blocks=[1, 2, 1, 1]), 3)
SIZE = 32


@dataclass(frozen=True)
class Unrounded:
    """In the place of a Rounding: everything stays as it is."""

    def weight(self, variable, axis):
        return variable

    def activation(self, variable, name):
        return variable


def state(seed=0):
    """Weights and statistics as after a training, by name."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in NETWORK.state.items():
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        spread = np.sqrt(2 / fan_in) if len(shape) > 1 else 0.1
        scaling = name.endswith(".variance") or ("bn" in name and name.endswith(".weight"))
        middle = 1.0 if scaling else 0.0
        found[name] = (middle + spread * rng.standard_normal(shape)).astype("float32")
        if name.endswith(".variance"):
            found[name] = np.abs(found[name]) + 0.5
    return found


def limits(value):
    return dict.fromkeys(fake.ranges(NETWORK), value)


def step(rounding, limit=6.0, layout="NCHW", batch=4):
    """(loss, {weight: gradient}) of a batch of noise, in a program of its own."""
    paddle.enable_static()
    rng = np.random.default_rng(1)
    images = rng.standard_normal((batch, 3, SIZE, SIZE)).astype("float32")
    if layout == "NHWC":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        x = paddle.static.data("images", graph.input_shape(NETWORK, SIZE, layout), "float32")
        y = paddle.static.data("labels", [None], "int64")
        logits = graph.forward(NETWORK, x, True, layout, rounding=rounding)
        loss = paddle.nn.functional.cross_entropy(logits, y)
        pairs = paddle.static.append_backward(loss)
    names = [weight.name for weight, _ in pairs]
    own, executor = paddle.static.Scope(), paddle.static.Executor(paddle.CPUPlace())
    executor.run(startup, scope=own)
    scope.write(state(), paddle.CPUPlace(), own)
    if isinstance(rounding, fake.Rounding):
        first = fake.first_values(limits(limit), rounding.average)
        scope.write({n: np.full(1, v, "float32") for n, v in first.items()}, paddle.CPUPlace(), own)
    feed = {"images": images, "labels": rng.integers(0, 3, batch)}
    fetched = [loss, *(gradient for _, gradient in pairs)]
    value, *gradients = executor.run(main, feed, fetched, scope=own)
    return float(np.ravel(value)[0]), dict(zip(names, gradients)), own


def cosines(one, other):
    """Of the angles between the gradients of each weight."""
    pairs = [(one[name].ravel(), other[name].ravel()) for name in one]
    return [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs]


def test_fine_steps_have_the_gradients_of_no_rounding_at_all():
    """Straight through: with 16 bits and ranges that clip nothing, rounding is next to nothing."""
    loss, gradients, _ = step(Unrounded())
    rounded_loss, rounded, _ = step(replace(fake.Rounding(), bits=16), limit=12.0)
    assert rounded_loss == pytest.approx(loss, rel=1e-3)
    assert gradients.keys() == rounded.keys() >= {c.weight for c in NETWORK.convs}
    assert min(cosines(gradients, rounded)) > 0.999
    for name, gradient in gradients.items():
        size = np.linalg.norm(gradient)
        assert np.linalg.norm(rounded[name] - gradient) < 0.05 * size, name


def test_eight_bits_change_the_loss_a_little_and_the_direction_less_than_four():
    loss, gradients, _ = step(Unrounded())
    rounded_loss, rounded, _ = step(fake.Rounding(), limit=12.0)
    assert 0 < abs(rounded_loss - loss) < 0.1 * loss
    _, coarse, _ = step(replace(fake.Rounding(), bits=4), limit=12.0)
    assert np.median(cosines(gradients, rounded)) > np.median(cosines(gradients, coarse))


def test_both_layouts_have_the_same_gradients():
    one, other = (step(fake.Rounding(), layout=layout)[1] for layout in ("NCHW", "NHWC"))
    for name, gradient in one.items():
        size = np.abs(gradient).max()
        np.testing.assert_allclose(other[name], gradient, atol=0.05 * size, err_msg=name)


def test_ranges_follow_the_data_only_if_they_are_averaged():
    _, _, frozen = step(fake.Rounding())
    _, _, averaged = step(fake.Rounding(average=True))
    names = fake.variables(fake.ranges(NETWORK), False)
    before = scope.read(names, frozen)
    after = scope.read(names, averaged)
    assert all(value == 6.0 for value in before.values())
    assert all(value != 6.0 and abs(value - 6.0) < 1 for value in after.values())


def test_batch_norms_keep_their_statistics():
    _, _, own = step(fake.Rounding())
    found, before = scope.read(NETWORK.statistics, own), state()
    assert all(np.array_equal(found[name], before[name]) for name in NETWORK.statistics)


# --- whole trainings ---


@pytest.fixture(scope="module")
def trained(prepared, pruned, tmp_path_factory):
    """A sparse network, its masks, its exported form with a calibration: their folder."""
    folder = tmp_path_factory.mktemp("trained")
    trainings.train(prepared, folder / "sparse", start=pruned)
    config = json.dumps(TINY)
    classes = prepared / "classes.txt"
    program(
        *("export.py", "--config", config, "--weights", folder / "sparse/model.pdparams"),
        *("--classes", classes, "--out", folder),
    )
    program(
        *("calibrate.py", "--config", config, "--data", prepared, "--model", folder),
        *("--out", folder / CALIBRATION),
    )
    shutil.copy(pruned / "masks.npz", folder)
    return folder


def given(trained):
    return (
        *("--more", trained / "sparse/model.pdparams", "--masks", trained / "masks.npz"),
        *("--calibration", trained / CALIBRATION),
    )


def learn(prepared, trained, out, *changes, check=True):
    config = json.dumps(merged(TINY, {"quantization": {"qat_epochs": 2}}, *changes))
    return program(
        *("train.py", "--config", config, "--data", prepared, "--out", out),
        *given(trained),
        check=check,
    )


def test_masks_hold_and_the_exported_file_is_the_network_that_was_trained(
    prepared, trained, tmp_path
):
    learn(prepared, trained, tmp_path / "twin", {"quantization": {"qat_ranges": "average"}})
    found = weights.load(tmp_path / "twin/model.pdparams")
    before = weights.load(trained / "sparse/model.pdparams")
    for name, mask in masks.load(trained / "masks.npz").items():
        assert not found[name][~mask].any() and pattern.holds(found[name])
    network = architecture.resnet(Model(**TINY["model"]), 2)
    assert all(np.array_equal(found[n], before[n]) for n in network.statistics)
    assert any((found[c.weight] != before[c.weight]).any() for c in network.convs)
    learnt = fake.read(tmp_path / "twin" / RANGES)
    calibrated = json.loads((trained / CALIBRATION).read_text())["layers"]
    assert learnt.keys() == calibrated.keys() and learnt != calibrated
    # The training's graph, and the file made of its weights and ranges
    names = fake.variables(list(learnt), False)
    infer = Inference(network, SIZE, "cpu", rounding=fake.Rounding(training=False), ranges=names)
    held = {name + fake.RANGE: np.full(1, limit, "float32") for name, limit in learnt.items()}
    images = np.random.default_rng(0).standard_normal((8, 3, SIZE, SIZE)).astype("float32")
    expected = infer.load({**found, **held})(images)
    program(
        *("export.py", "--config", json.dumps(TINY), "--classes", prepared / "classes.txt"),
        *("--weights", tmp_path / "twin/model.pdparams", "--out", tmp_path),
    )
    program(
        *("calibrate.py", "--config", json.dumps(TINY), "--data", prepared, "--model", tmp_path),
        *("--ranges", tmp_path / "twin" / RANGES, "--out", tmp_path / CALIBRATION),
    )
    graph_ = fold.fold(onnx_graph.load(tmp_path / ONNX))
    forms.for_tensorrt(graph_, calibration.read(tmp_path).limits)
    got = observe.runner(graph_, ["probabilities"], 1)(images)["probabilities"]
    np.testing.assert_allclose(got, expected, atol=0.02)  # values between two integers
    assert np.median(np.abs(got - expected)) < 1e-3


def test_resumed_equals_uninterrupted(prepared, trained, tmp_path):
    average = {"quantization": {"qat_ranges": "average"}}
    learn(prepared, trained, tmp_path / "whole", average)
    stopped = tmp_path / "stopped"
    running = trainings.started(
        *(prepared, stopped, {"quantization": {"qat_epochs": 2}}, average),
        extra=given(trained),
    )
    running.kill()
    running.wait()
    learn(prepared, trained, stopped, average)
    assert trainings.state(stopped) == trainings.state(tmp_path / "whole")
    assert (stopped / RANGES).read_bytes() == (tmp_path / "whole" / RANGES).read_bytes()


def test_two_processes_learn_together(prepared, trained, tmp_path):
    done = learn(
        prepared,
        trained,
        tmp_path,
        {"hardware": {"cpu_processes": 2}, "train": {"batch_size": 4}},
        {"quantization": {"qat_ranges": "average"}},
    )
    record = json.loads((tmp_path / "train.json").read_text())
    assert record["processes"] == 2 and record["val_images"] == 40, done.stderr
    network = architecture.resnet(Model(**TINY["model"]), 2)
    assert fake.read(tmp_path / RANGES).keys() == set(fake.ranges(network))


def test_a_calibration_without_ranges_is_a_sentence(prepared, trained, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(trained, folder)
    record = json.loads((folder / CALIBRATION).read_text())
    del record["layers"]["stem.conv.input"]
    files.write_json(folder / CALIBRATION, record)
    done = learn(prepared, folder, tmp_path / "out", check=False)
    assert done.returncode == 1
    assert "has no range stem.conv.input; calibrate again" in done.stderr.splitlines()[-1]


def test_at_3_bits_learning_to_be_rounded_beats_rounding_afterwards_by_far():
    """Which shows that the gradients point the right way, all through the network."""
    images, labels = digits()
    network = architecture.resnet(Model(name="resnet50", width=0.125, blocks=[1, 1, 1, 1]), 10)
    exact = Learner(network, None)
    exact.run(images[:1200], labels[:1200], epochs=4, rate=0.05)
    assert exact.accuracy(images[1200:], labels[1200:]) > 0.9
    rounding = fake.Rounding(bits=3)
    learner = Learner(network, rounding, exact)
    afterwards = learner.accuracy(images[1200:], labels[1200:])
    learner.run(images[:1200], labels[:1200], epochs=6, rate=0.001)
    learnt = learner.accuracy(images[1200:], labels[1200:])
    assert learnt > afterwards + 0.1, (afterwards, learnt)


def digits():
    """scikit-learn's digits as [n, 3, 32, 32], shuffled, and their labels."""
    found = sklearn.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    small = found.images[order, None] / 8 - 1
    images = np.kron(small, np.ones((1, 3, 4, 4))).astype("float32")
    return images, found.target[order].astype("int64")


class Learner:
    """A network that is trained in this process, rounded or not; begins where ``other`` stands."""

    def __init__(self, network, rounding, other=None):
        paddle.enable_static()
        self.now = 0.0  # the learning rate
        self.main, startup = paddle.static.Program(), paddle.static.Program()
        startup.random_seed = self.main.random_seed = 1
        with paddle.static.program_guard(self.main, startup), paddle.utils.unique_name.guard():
            x = paddle.static.data("images", [None, 3, SIZE, SIZE], "float32")
            y = paddle.static.data("labels", [None], "int64")
            logits = graph.forward(network, x, True, rounding=rounding)
            self.loss = paddle.nn.functional.cross_entropy(logits, y)
            self.rate = paddle.optimizer.lr.LambdaDecay(1.0, lambda step: self.now)
            paddle.optimizer.Momentum(self.rate, momentum=0.9).minimize(self.loss)
        self.executor = paddle.static.Executor(paddle.CPUPlace())
        self.scope = paddle.static.Scope()
        self.executor.run(startup, scope=self.scope)
        self.network, self.ranges = network, []
        if rounding:
            rounding = replace(rounding, training=False)
            self.ranges = fake.variables(fake.ranges(network), False)
        self.infer = Inference(network, SIZE, "cpu", rounding=rounding, ranges=self.ranges)
        if other:
            held = scope.read(network.state, other.scope)
            held.update({name: np.full(1, 2.5, "float32") for name in self.ranges})
            scope.write(held, paddle.CPUPlace(), self.scope)

    def run(self, images, labels, epochs, rate):
        """Train with a rate that falls by a cosine to 0."""
        rng, steps = np.random.default_rng(0), epochs * (len(labels) // 32)
        for step in range(steps):
            chosen = rng.integers(0, len(labels), 32)
            self.now = rate * (1 + np.cos(np.pi * step / steps)) / 2
            self.rate.step()
            feed = {"images": images[chosen], "labels": labels[chosen]}
            self.executor.run(self.main, feed, [self.loss], scope=self.scope)

    def accuracy(self, images, labels):
        """Share of the images that it has right."""
        self.infer.load(scope.read([*self.network.state, *self.ranges], self.scope))
        return float((self.infer(images).argmax(axis=1) == labels).mean())
