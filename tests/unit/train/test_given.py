"""Starting at a finished network: dense.weights."""

import json

from twofour import config
from twofour.network import weights
from twofour.system.errors import TwoFourError
from twofour.system.files import read_json
from twofour.train import metrics

import numpy as np
import pytest
from conftest import TINY, merged, program


def take(file, prepared, out, check=True, **changes):
    return program(
        "import_dense.py",
        *(file, "--config", json.dumps(merged(TINY, changes))),
        *("--data", prepared, "--out", out),
        check=check,
    )


def test_a_given_network_is_the_dense_one_with_the_accuracy_of_its_training(
    dense, prepared, tmp_path
):
    take(dense / "model.pdparams", prepared, tmp_path)
    ours, theirs = (weights.load(d / "model.pdparams") for d in (tmp_path, dense))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    given, trained = (read_json(d / "train.json") for d in (tmp_path, dense))
    same = ("top1", "top5", "val_images", "chance_top1", "known_val_images", "parameters")
    assert {k: given[k] for k in same} == {k: trained[k] for k in same}
    assert given["given"]["file"] == "model.pdparams"
    assert given["val_loss"] == pytest.approx(trained["val_loss"], abs=1e-5)
    assert np.array_equal(np.load(tmp_path / "seen.npy"), np.load(dense / "seen.npy"))


def test_what_a_network_without_record_has_seen_is_not_known(dense, prepared, tmp_path):
    (tmp_path / "alone.pdparams").write_bytes((dense / "model.pdparams").read_bytes())
    take(tmp_path / "alone.pdparams", prepared, tmp_path / "out")
    assert read_json(tmp_path / "out" / "train.json")["known_val_images"] is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("dark ü\nbright\n", "in another order"),
        ("bright\ncats\n", "'cats'"),
        ("bright\n", "names 1 classes, and the images have 2"),
    ],
)
def test_other_classes_beside_the_weights_are_refused(names, said, dense, prepared, tmp_path):
    (tmp_path / "w.pdparams").write_bytes((dense / "model.pdparams").read_bytes())
    (tmp_path / "classes.txt").write_text(names, encoding="utf-8")
    failed = take(tmp_path / "w.pdparams", prepared, tmp_path / "out", check=False)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert said in last and "classes.txt" in last


def test_a_network_for_other_classes_is_refused(dense, prepared, tmp_path):
    state = weights.load(dense / "model.pdparams")
    state["classifier.weight"] = np.repeat(state["classifier.weight"], 2, axis=1)
    state["classifier.bias"] = np.repeat(state["classifier.bias"], 2)
    weights.save(tmp_path / "four.pdparams", state)
    failed = take(tmp_path / "four.pdparams", prepared, tmp_path / "out", check=False)
    last = failed.stderr.strip().splitlines()[-1]
    assert "these 2 classes" in last and "train.init" in last


def test_a_given_network_no_better_than_chance_is_told_apart_from_a_failed_training():
    summary = {"top1": 50.0, "chance_top1": 60.0, "val_images": 40, "given": {"file": "w.pth"}}
    with pytest.raises(TwoFourError, match=r"w\.pth does not know these images.*another order"):
        metrics.require_learnt(summary, "train.json")


def test_a_start_and_a_finished_network_exclude_each_other():
    with pytest.raises(TwoFourError, match=r"dense\.weights and train\.init"):
        config.validated({"dense": {"weights": "a"}, "train": {"init": "b"}})


def test_a_run_cannot_begin_at_what_it_will_replace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "results" / "a" / "dense" / "model.pdparams"
    own.parent.mkdir(parents=True)
    own.touch()
    (tmp_path / "link.pdparams").symlink_to(own)
    for section, name in (("dense", "weights"), ("train", "init")):
        for path in (str(own), "link.pdparams"):
            given = {"run": "a", section: {name: path}}
            with pytest.raises(TwoFourError, match=rf"{section}\.{name}: .*belongs to this run"):
                config.require_files(config.validated(given))
            config.require_files(config.validated({**given, "run": "b"}))
