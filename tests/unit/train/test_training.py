"""Invariants of the real training program, each run as a user runs it."""

import json
import signal

from twofour.network import weights
from twofour.sparse import pattern

import numpy as np
import pandas as pd
import pytest
from trainings import rows, started, state, train


def test_record_and_rows(dense):
    record = json.loads((dense / "train.json").read_text())
    assert (record["precision"], record["device"], record["val_images"]) == ("fp32", "cpu", 40)
    table = pd.read_csv(dense / "metrics.csv")
    assert table["epoch"].tolist() == [1, 2]
    assert (table["lr"] > 0).all()
    assert record["relative_weight_change"] > 0


def test_same_seed_same_result_other_seed_another(dense, prepared, tmp_path):
    train(prepared, tmp_path / "a")
    train(prepared, tmp_path / "b", {"seed": 2})
    assert state(tmp_path / "a") == state(dense)
    assert rows(tmp_path / "a") == rows(dense)
    assert state(tmp_path / "b") != state(dense)


LONGER = {"train": {"epochs": 6}}


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """An uninterrupted training of 6 epochs."""
    out = tmp_path_factory.mktemp("whole")
    train(prepared, out, LONGER)
    return out


def test_interrupted_and_resumed_equals_uninterrupted(whole, prepared, tmp_path):
    out = tmp_path / "parts"
    job = started(prepared, out, LONGER)
    job.send_signal(signal.SIGINT)
    said = job.communicate()[1]
    assert job.returncode == 130, said
    assert "saved" in said
    assert not (out / "model.pdparams").exists()
    done = train(prepared, out, LONGER)
    assert "resuming at epoch" in done.stderr
    assert state(out) == state(whole)
    assert rows(out) == rows(whole)


def test_killed_within_an_epoch_resumes_exactly(whole, prepared, tmp_path):
    out = tmp_path / "killed"
    job = started(prepared, out, LONGER, {"train": {"epochs": 6, "checkpoint_minutes": 1e-6}})
    job.kill()  # without warning; there is a checkpoint of every step
    job.communicate()
    assert job.returncode == -signal.SIGKILL
    assert "resuming at epoch" in train(prepared, out, LONGER).stderr
    assert state(out) == state(whole)
    assert rows(out) == rows(whole)


def test_changed_hyper_parameter_is_not_resumed(dense, prepared, tmp_path):
    train(prepared, tmp_path, {"train": {"epochs": 1, "warmup_epochs": 0}})
    done = train(prepared, tmp_path)
    assert "not resuming" in done.stderr
    assert "train.epochs" in done.stderr
    assert state(tmp_path) == state(dense)


def test_sparse_training_moves_weights_and_keeps_the_pattern(prepared, pruned, tmp_path):
    """Against a control with a learning rate of (nearly) 0, where only statistics change."""
    train(prepared, tmp_path / "sparse", start=pruned)
    train(prepared, tmp_path / "control", {"train": {"learning_rate": 1e-6}}, start=pruned)
    start = weights.load(pruned / "model.pdparams")
    trained = weights.load(tmp_path / "sparse" / "model.pdparams")
    control = weights.load(tmp_path / "control" / "model.pdparams")
    report = json.loads((tmp_path / "sparse" / "sparsity.json").read_text())
    names = [layer["name"] for layer in report["layers"] if layer["sparse"]]
    assert len(names) == 16
    for name in names:
        assert pattern.holds(trained[name])
        assert not np.allclose(trained[name], start[name])
        np.testing.assert_allclose(control[name], start[name], rtol=0, atol=1e-5)
    assert not pattern.holds(trained["stem.conv.weight"][:, :1].repeat(4, axis=1))


def test_training_that_moves_nothing_is_an_error(prepared, tmp_path):
    done = train(prepared, tmp_path, {"train": {"learning_rate": 1e-30}}, check=False)
    assert done.returncode == 1
    assert "did not move" in done.stderr
    assert not (tmp_path / "model.pdparams").exists()


def test_training_that_ends_within_its_first_step_of_warmup_blames_the_configuration(
    prepared, tmp_path
):
    one_step = {"train": {"epochs": 1, "warmup_epochs": 1, "batch_size": 40}}
    done = train(prepared, tmp_path, one_step, check=False)
    assert done.returncode == 1
    assert "lower train.warmup_epochs, which is 1" in done.stderr and "bug" not in done.stderr


def test_divergence_is_a_sentence(prepared, tmp_path):
    wild = {"train": {"epochs": 5, "learning_rate": 100, "batch_size": 40, "weight_decay": 1.0}}
    wild["train"] |= {"momentum": 0.99, "warmup_epochs": 0}
    done = train(prepared, tmp_path, wild, check=False)
    assert done.returncode == 1
    assert "loss is nan" in done.stderr and "at learning rate" in done.stderr
    assert "Traceback" not in done.stderr


def test_precision_that_the_cpu_lacks_is_named(prepared, tmp_path):
    done = train(prepared, tmp_path, {"train": {"precision": "amp_fp16"}}, check=False)
    assert done.returncode == 1
    assert "train.precision is amp_fp16, but training on this cpu" in done.stderr
    assert "can do only fp32; set it to auto or one of these" in done.stderr
