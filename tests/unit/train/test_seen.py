"""Weights remember the images that they have been trained on."""

import json
import re

from twofour.data import lists
from twofour.system.errors import TwoFourError
from twofour.train import seen

import numpy as np
import pytest
from conftest import TINY, make_images, merged, program

SPLIT = {"data": {"val_fraction": 0.5}, "train": {"batch_size": 4}}


def names(digests):
    return set(digests.tolist())


def run(folder, root, split_seed, init=None):
    text = json.dumps(
        merged(TINY, SPLIT, {"data": {"split_seed": split_seed}, "train": {"init": init}})
    )
    data = folder / f"data {split_seed}"
    program("prepare_dataset.py", "--config", text, "--root", root, "--out", data)
    out = folder / f"out {split_seed} {init is not None}"
    done = program("train.py", "--config", text, "--data", data, "--out", out)
    found = re.search(r"warning: (\d+) of the (\d+) validation images were training", done.stderr)
    return out, lists.digests(data), found and tuple(map(int, found.groups()))


def test_validation_images_that_the_weights_know_are_counted(tmp_path):
    root = make_images(tmp_path / "images", splits=("train",))
    first, digests, warned = run(tmp_path, root, 1)
    weights = str(first / "model.pdparams")
    assert warned is None
    assert names(seen.by(weights)) == names(digests["train"])
    _, _, warned = run(tmp_path, root, 1, weights)
    assert warned is None  # it validates on what the weights were validated on
    second, other, warned = run(tmp_path, root, 2, weights)
    known = len(names(other["val"]) & names(digests["train"]))
    assert known > 0 and warned == (known, len(other["val"]))
    every = seen.by(str(second / "model.pdparams"))  # of both trainings
    assert names(every) == names(digests["train"]) | names(other["train"])


def test_digests_go_as_the_lists_do(prepared):
    found, digests = lists.read(prepared), lists.digests(prepared)
    assert len(digests["train"]) == len(found.train[0])
    assert len(digests["val"]) == len(found.val[0])
    assert len(np.unique(digests["train"])) == len(found.train[0])


def test_weights_without_a_record_and_a_damaged_one(tmp_path):
    assert len(seen.by(None)) == 0
    assert seen.by(str(tmp_path / "model.pdparams")) is None
    assert seen.count(seen.NOTHING, None) is None
    one, other = np.frombuffer(bytes(range(32)), "V16").reshape(2, 1)
    seen.write(tmp_path, one, None)  # began with weights without a record
    again = seen.by(str(tmp_path / "model.pdparams"))
    assert seen.count(other, again) is None and seen.count(one, again) == 1
    (tmp_path / "seen.npy").write_bytes(b"x")
    with pytest.raises(TwoFourError, match=r"cannot read .*seen\.npy"):
        seen.by(str(tmp_path / "model.pdparams"))
