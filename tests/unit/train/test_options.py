"""What a training can do beyond the recipe, each off by default: see the section train."""

import json
import re
import struct

from twofour import config
from twofour.data import lists
from twofour.data.lists import Split
from twofour.data.loader import Loader, Pipeline
from twofour.network import scope, weights
from twofour.network.architecture import IMAGES
from twofour.sparse import pattern
from twofour.system.errors import TwoFourError
from twofour.train import balance, best, mixing, training_graph
from twofour.train.updater import Updater

import numpy as np
import paddle
import pandas as pd
import pytest
from conftest import TINY, merged, program
from plans import plan
from trainings import rows, state, train

STEADY = {"momentum": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "layout": "NCHW"}
IMAGES4 = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
CLASSIFIER = "classifier.weight"


def one_update(labels, images=IMAGES4, mask=None, taught=False, factors=None, **options):
    """Loss of the first update, and how far each weight moved in it."""
    given = plan({"train": {**STEADY, **options}})
    if factors is not None:
        object.__setattr__(given, "class_factors", np.asarray(factors, np.float32))
    names = [n for n in given.network.state if not n.endswith(("mean", "variance"))]
    with paddle.static.scope_guard(paddle.static.Scope()):
        step = training_graph.build(given, lambda update: 0.1, (), taught)
        executor = paddle.static.Executor(paddle.CPUPlace())
        step.start(executor, paddle.CPUPlace())
        before = scope.read(names)
        feed = {IMAGES: images, training_graph.LABELS: np.asarray(labels)}
        if mask is not None:
            feed[training_graph.MIX] = mask
        (loss,) = executor.run(step.main, feed=feed, fetch_list=[step.loss])
        after = scope.read(names)
    return float(loss[0]), {name: after[name] - before[name] for name in names}


# --- mixup and CutMix ---


def section(**given):
    return config.validated({"train": given}).train


def test_masks_have_the_shares_that_beta_gives():
    shares = {}
    for name, train_section in {"mixup": section(mixup=1), "cutmix": section(cutmix=1)}.items():
        masks = [mixing.mask(train_section, 32, 1, update, 0) for update in range(400)]
        shares[name] = [float(mask.mean()) for mask in masks]
        kinds = {len(np.unique(mask)) for mask in masks}
        assert (2 in kinds) == (name == "cutmix") and kinds <= {1, 2}
        if name == "cutmix":  # what is replaced is one rectangle
            holes = [np.argwhere(mask == 0) for mask in masks if (mask == 0).any()]
            assert all(len(h) == np.prod(h.max(0) - h.min(0) + 1) for h in holes)
    assert np.mean(shares["mixup"]) == pytest.approx(0.5, abs=0.05)  # uniform
    assert np.std(shares["mixup"]) == pytest.approx(12**-0.5, abs=0.03)
    assert 0.5 < np.mean(shares["cutmix"]) < 0.75  # parts of rectangles are cut off at the border


def test_masks_follow_from_seed_update_and_batch_alone():
    both = section(mixup=0.2, cutmix=1)
    masks = {
        key: mixing.mask(both, 8, *key) for key in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0))
    }
    assert all((mixing.mask(both, 8, *key) == mask).all() for key, mask in masks.items())
    assert len({mask.tobytes() for mask in masks.values()}) == 4
    cut = [len(np.unique(mixing.mask(both, 32, 1, u, 0))) == 2 for u in range(200)]
    assert 60 < sum(cut) < 130  # each in about half of the steps


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("cut", [False, True])
def test_images_and_labels_are_mixed_with_those_from_the_batchs_end(cut, layout):
    mask = np.full((32, 32), 0.3, np.float32)
    if cut:
        mask[:] = 1
        mask[4:20, 8:30] = 0
    labels, share = [0, 1, 0, 0], mask.mean()
    mixed = IMAGES4 * mask + IMAGES4[::-1] * (1 - mask)

    def turned(images):
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if layout == "NHWC" else images

    found, _ = one_update(labels, turned(IMAGES4), mask, mixup=1.0, layout=layout)
    own, _ = one_update(labels, turned(mixed), layout=layout)
    others, _ = one_update(labels[::-1], turned(mixed), layout=layout)
    assert found == pytest.approx(share * own + (1 - share) * others, rel=1e-5)
    assert abs(own - others) > 1e-3  # so that the shares matter


# --- classes ---


def test_a_factor_on_a_class_multiplies_its_loss_and_gradients():
    plain, plain_moves = one_update([1, 1, 1, 1])
    loss, moves = one_update([1, 1, 1, 1], factors=[7, 2.5])
    assert loss == pytest.approx(2.5 * plain, rel=1e-5)
    for name, move in plain_moves.items():
        np.testing.assert_allclose(moves[name], 2.5 * move, rtol=2e-3, atol=2e-6)
    # The mean over the images, each with its own factor: linear in the one-hot labels.
    (mixed, _), (zero, _), (one, _) = (
        one_update(labels, factors=[7, 2.5]) for labels in ([0, 0, 1, 1], [0] * 4, [1] * 4)
    )
    assert min(zero, one) < mixed < max(zero, one) or mixed == pytest.approx(
        (zero + one) / 2, rel=0.5
    )


def test_factors_that_balance_give_each_class_the_same_total():
    labels = np.array([0] * 10 + [1] * 30 + [2] * 2)
    found = balance.factors("auto", labels, ["a", "b", "c"])
    totals = [found[label] * (labels == label).sum() for label in range(3)]
    np.testing.assert_allclose(totals, 14, rtol=1e-6)
    assert found[labels].mean() == pytest.approx(1)


def test_classes_without_a_factor_have_one_and_unknown_ones_are_named():
    names = ["cat", "dog", "n01440764 tench"]
    found = balance.factors({"dog": 3, "n01440764": 0.5}, np.array([0, 1, 2]), names)
    assert found.tolist() == [1, 3, 0.5]
    with pytest.raises(TwoFourError, match=r"no class 'dgo'; did you mean dog\?"):
        balance.factors({"dgo": 3}, np.array([0, 1]), names)


def test_numbers_may_be_names_of_classes_in_a_configuration(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("train: {class_weights: {7: 2, 07: 3, no: 4, 1e3: 5, cat: 1e-1}}")
    expected = {"7": 2, "07": 3, "no": 4, "1e3": 5, "cat": 0.1}
    assert config.load(str(path)).train.class_weights == expected


def test_balanced_epochs_have_as_many_images_of_every_class():
    labels = np.array([0] * 10 + [1] * 4 + [2])
    images = Split([f"{i}.jpg" for i in range(15)], labels, np.arange(15, dtype=np.uint8))
    found = balance.balanced(images, 1)
    assert np.bincount(found.labels).tolist() == [10, 10, 10]
    assert [int(p[:-4]) for p in found.paths] == found.orientations.tolist()
    times = np.bincount([int(p[:-4]) for p in found.paths])
    assert set(times[:10]) == {1} and set(times[10:14]) == {2, 3} and times[14] == 10
    assert balance.balanced(images, 1).paths == found.paths
    assert len({tuple(balance.balanced(images, seed).paths) for seed in range(9)}) > 1


def test_a_balanced_training_has_longer_epochs(prepared, tmp_path):
    listed = (prepared / "train.txt").read_text().splitlines()
    few = [line for line in listed if line.endswith(" 0")][:8]
    (tmp_path / "data").mkdir()
    for path in prepared.iterdir():
        if path.name != "train.txt" and path.is_file():
            (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    kept = [*few, *(line for line in listed if line.endswith(" 1"))]
    (tmp_path / "data" / "train.txt").write_text("".join(f"{line}\n" for line in kept))
    changes = {"train": {"epochs": 1, "sampling": "balanced", "batch_size": 4}}
    train(tmp_path / "data", tmp_path / "out", changes)
    assert json.loads((tmp_path / "out" / "train.json").read_text())["steps_per_epoch"] == 10


# --- fine-tuning ---


def test_the_classifier_has_a_learning_rate_of_its_own():
    _, plain = one_update([0, 1, 0, 1])
    _, faster = one_update([0, 1, 0, 1], head_factor=10)
    for name, move in plain.items():
        factor = 10 if name.startswith("classifier.") else 1
        np.testing.assert_allclose(faster[name], factor * move, rtol=1e-4, atol=1e-7)
    assert np.abs(plain[CLASSIFIER]).max() > 0


def test_a_frozen_stem_stays_as_it_is_and_all_else_learns(prepared, dense, tmp_path):
    given = {"freeze_stem": True, "init": str(dense / "model.pdparams")}
    train(prepared, tmp_path, {"train": {"epochs": 1, **given}})
    before, after = (weights.load(d / "model.pdparams") for d in (dense, tmp_path))
    still = {name for name in before if np.array_equal(before[name], after[name])}
    assert still == {n for n in before if n.startswith("stem.")} and len(still) == 5


def test_a_frozen_stem_that_is_pruned_stays_so(prepared, tmp_path):
    """With four channels and no exception, the stem is 2:4 sparse as well."""
    changes = {"model": {"input_channels": 4}, "train": {"epochs": 1}}
    train(prepared, tmp_path / "dense", changes)
    weights_file = tmp_path / "dense" / "model.pdparams"
    pruning = json.dumps(merged(TINY, changes, {"sparsity": {"exclude": []}}))
    out = ("--weights", weights_file, "--out", tmp_path / "pruned")
    program("prune.py", "--config", pruning, *out)
    frozen = merged(changes, {"train": {"freeze_stem": True, "init": str(weights_file)}})
    train(prepared, tmp_path / "sparse", frozen, start=tmp_path / "pruned")
    before, after = (weights.load(tmp_path / n / "model.pdparams") for n in ("pruned", "sparse"))
    assert np.array_equal(before["stem.conv.weight"], after["stem.conv.weight"])
    assert (after["stem.conv.weight"] == 0).mean() >= 0.5


def test_a_stem_of_random_weights_cannot_be_frozen():
    with pytest.raises(TwoFourError, match=r"train\.freeze_stem.*train\.init"):
        config.validated({"train": {"freeze_stem": True}})


# --- the best epoch ---


def row(top1, loss):
    return {"top1": top1, "val_loss": loss}


def test_best_epoch_and_patience():
    history = [row(50, 1.0), row(60, 0.9), row(60, 0.8), row(60, 0.8), row(55, 0.1)]
    assert [best.best(history[:n]) for n in range(1, 6)] == [0, 1, 2, 2, 2]
    assert [best.stalled(history[:n], 2) for n in range(6)] == [False] * 5 + [True]
    assert not best.stalled(history, 0) and not best.stalled(history, 3)


def test_the_best_epoch_is_kept_beside_the_last(prepared, tmp_path):
    """With a rate that spoils the network towards the end."""
    changes = {"train": {"epochs": 6, "learning_rate": 1.6, "batch_size": 8}}
    train(prepared, tmp_path / "last", changes)
    train(prepared, tmp_path / "best", merged(changes, {"train": {"keep": "best"}}))
    assert rows(tmp_path / "last") == rows(tmp_path / "best")
    table = pd.read_csv(tmp_path / "best" / "metrics.csv")
    chosen = best.best(table.to_dict("records"))
    summary = json.loads((tmp_path / "best" / "train.json").read_text())
    assert (summary["kept_epoch"], summary["top1"]) == (chosen + 1, table["top1"].max())
    assert (tmp_path / "best" / "last.pdparams").read_bytes() == state(tmp_path / "last")
    assert not (tmp_path / "last" / "last.pdparams").exists()
    shorter = merged(changes, {"train": {"keep": "best", "patience": 1}})
    said = train(prepared, tmp_path / "short", shorter).stderr
    stopped = pd.read_csv(tmp_path / "short" / "metrics.csv")
    expected = next((n for n in range(1, 7) if best.stalled(table.to_dict("records")[:n], 1)), 6)
    assert len(stopped) == expected
    assert ("ended early: no better epoch than number" in said) == (expected < 6)
    assert (
        rows(tmp_path / "short")
        == "\n".join(rows(tmp_path / "last").split("\n")[: expected + 1]) + "\n"
    )


# --- augmentation ---


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_augmentation_changes_crops_and_follows_from_the_seed(name, prepared):
    paths = lists.read(prepared).train.paths[:16]

    def epoch(state=None, training=True, start=0, **data):
        section = config.validated(merged(TINY, {"data": data})).data
        loader = Loader(paths, Pipeline(section, 3, 4, training, threads=1, seed=3), state)
        return [images.copy() for images, _ in loader.epoch(start)], loader

    plain, _ = epoch()
    changed, _ = epoch(augment=name)
    again, loader = epoch(augment=name)
    assert np.array_equal(changed, again) and not np.allclose(changed, plain)
    following = [images.copy() for images, _ in loader.epoch()]
    resumed = epoch(loader_state(paths, name), augment=name)[0]
    assert np.array_equal(resumed, following)
    evaluated = [epoch(training=False, **data)[0] for data in ({}, {"augment": name})]
    assert np.array_equal(*evaluated)


def loader_state(paths, name):
    section = config.validated(merged(TINY, {"data": {"augment": name}})).data
    loader = Loader(paths, Pipeline(section, 3, 4, True, threads=1, seed=3))
    for _ in loader.epoch():
        pass
    return loader.state()


# --- distillation ---


def test_distance_is_the_divergence_of_softened_probabilities():
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(size=(2, 5, 3)).astype(np.float32)
    program, temperature = paddle.static.Program(), 3.0
    with paddle.static.program_guard(program):
        first, second = (paddle.static.data(n, [None, 3]) for n in ("a", "b"))
        loss = training_graph.distillation_loss(first, second, temperature)
    executor = paddle.static.Executor(paddle.CPUPlace())
    (found,) = executor.run(program, feed={"a": ours, "b": theirs}, fetch_list=[loss])

    def soft(logits):
        e = np.exp(logits.astype(np.float64) / temperature)
        return e / e.sum(axis=1, keepdims=True)

    q, p = soft(theirs), soft(ours)
    expected = temperature**2 * (q * np.log(q / p)).sum(axis=1).mean()
    assert found[0] == pytest.approx(expected, rel=1e-4)


def test_a_sparse_network_learns_from_the_dense_one_and_stays_sparse(
    prepared, dense, pruned, tmp_path
):
    changes = {"train": {"epochs": 3, "distill": 0.7, "distill_temperature": 2}}
    arguments = ("--config", json.dumps(merged(TINY, changes)), "--data", prepared)
    teacher = ("--teacher", dense / "model.pdparams")
    program("train.py", *arguments, "--start", pruned, *teacher, "--out", tmp_path / "taught")
    train(prepared, tmp_path / "alone", {"train": {"epochs": 3}}, start=pruned)
    assert state(tmp_path / "taught") != state(tmp_path / "alone")
    report = json.loads((tmp_path / "taught" / "sparsity.json").read_text())
    sparse = [layer["name"] for layer in report["layers"] if layer["sparse"]]
    pattern.require(weights.load(tmp_path / "taught" / "model.pdparams"), sparse, "it")
    newest = sorted((tmp_path / "taught" / "checkpoints").glob("*.npz"))[-1]
    with np.load(newest) as archive:
        assert not [name for name in archive.files if training_graph.TEACHER in name]
    # Started again after its last checkpoint but one, it ends with the same weights.
    newest.unlink()
    again = program(
        "train.py", *arguments, "--start", pruned, *teacher, "--out", tmp_path / "taught"
    )
    assert re.search(r"epoch 3/3", again.stderr)


def test_with_its_own_network_as_teacher_only_the_statistics_differ():
    """The share of the distance in the loss: at 1, the labels do not matter."""
    (one, moves), (other, others) = (
        one_update(labels, taught=True, distill=1.0) for labels in ([0, 0, 0, 0], [1, 0, 1, 1])
    )
    assert one == pytest.approx(other) and all(np.array_equal(moves[n], others[n]) for n in moves)
    (half, _), (labels_alone, _) = (
        one_update([0, 0, 0, 0], taught=True, distill=share) for share in (0.5, 0.0)
    )
    assert half == pytest.approx((one + labels_alone) / 2, rel=1e-5)


# --- TensorBoard ---


def events(folder):
    """(name, epoch, value) of all scalars in the event files, in the order of their names."""
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = event_pb2.Event.FromString(data[position + 12 : position + 12 + length])
            position += length + 16
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def test_event_files_have_the_rows_of_metrics(prepared, tmp_path):
    changes = {"train": {"tensorboard": True}}
    train(prepared, tmp_path, changes)
    table = pd.read_csv(tmp_path / "metrics.csv")
    found = {(name, step): value for name, step, value in events(tmp_path / "tensorboard")}
    assert len(found) == 6 * len(table)
    for _, line in table.iterrows():
        assert found["validation/top1", line["epoch"]] == pytest.approx(line["top1"])
        assert found["training/loss", line["epoch"]] == pytest.approx(line["train_loss"], rel=1e-6)
    train(prepared, tmp_path, merged(changes, {"seed": 3}))  # another training, from its start
    assert len(events(tmp_path / "tensorboard")) == 6 * len(table)


def test_updater_feeds_a_mask_of_the_batchs_size():
    given = plan({"train": {"mixup": 0.4, "layout": "NHWC"}, "data": {"train_size": 24}})
    with paddle.static.scope_guard(paddle.static.Scope()):
        step = training_graph.build(given, lambda update: 0.1)
        update = Updater(given, step, paddle.CPUPlace())
        for size in (24, 16):
            batch = np.zeros((2, size, size, 3), np.float32)
            loss = update(0, ((batch, np.arange(2)),), np.array([0, 1]), True)
            assert np.isfinite(loss)
