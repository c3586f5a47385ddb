"""Weights, masks, checkpoints, sources and the atomic writing underneath."""

import json
import pickle

from twofour.network import weights
from twofour.sparse import masks
from twofour.system import files
from twofour.system.errors import TwoFourError
from twofour.train import checkpoint

import numpy as np
import paddle
import pytest

ARRAYS = {"b": np.arange(6, dtype="float32").reshape(2, 3), "a": np.zeros(2, "float32")}


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_round_trip_and_paddle_reads_them(tmp_path):
    path = tmp_path / "model.pdparams"
    weights.save(path, ARRAYS)
    for loaded in (weights.load(path), paddle.load(str(path), return_numpy=True)):
        assert {n: v.tolist() for n, v in loaded.items()} == {
            n: v.tolist() for n, v in ARRAYS.items()
        }
    first = path.read_bytes()
    weights.save(path, dict(reversed(ARRAYS.items())))
    assert path.read_bytes() == first


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("content", [pickle.dumps({"w": Evil()}), b"", b"junk", pickle.dumps([1])])
def test_hostile_or_damaged_weights_are_a_sentence(tmp_path, content):
    path = tmp_path / "model.pdparams"
    path.write_bytes(content)
    with pytest.raises(TwoFourError, match=r"model\.pdparams"):
        weights.load(path)


def test_masks_round_trip(tmp_path):
    masks.save(tmp_path / "masks.npz", {"w.x": np.array([[True, False]])})
    assert masks.load(tmp_path / "masks.npz")["w.x"].tolist() == [[True, False]]
    (tmp_path / "masks.npz").write_bytes(b"PK")
    with pytest.raises(TwoFourError, match="masks"):
        masks.load(tmp_path / "masks.npz")


def test_checkpoints_keep_two_and_fall_back_from_a_damaged_one(tmp_path):
    mark = {"train": {"epochs": 3}, "code": "x"}
    for step in (1, 2, 3):
        state = checkpoint.Checkpoint(
            ARRAYS, [{}], [b"loader"], {"step": step, "fingerprint": mark}
        )
        newest = checkpoint.save(tmp_path, step, state)
    assert len(list(tmp_path.iterdir())) == 2
    found = checkpoint.latest(tmp_path, mark, print)
    assert (found.meta["step"], found.loaders) == (3, [b"loader"])
    assert (found.variables["b"] == ARRAYS["b"]).all()
    content = bytearray(newest.read_bytes())
    content[content.index(ARRAYS["b"].tobytes()) + 4] ^= 1
    newest.write_bytes(content)
    said = []
    assert checkpoint.latest(tmp_path, mark, said.append).meta["step"] == 2
    assert "damaged" in said[0]


def test_other_fingerprint_is_not_resumed_and_named(tmp_path):
    state = checkpoint.Checkpoint(
        {}, [], [], {"fingerprint": {"train": {"epochs": 3, "momentum": 1}, "code": "x"}}
    )
    checkpoint.save(tmp_path, 1, state)
    said = []
    other = {"train": {"epochs": 4, "momentum": 1}, "code": "y"}
    assert checkpoint.latest(tmp_path, other, said.append) is None
    assert "other code, train.epochs" in said[0]


def test_json_is_stable(tmp_path):
    files.write_json(tmp_path / "a.json", {"ü": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": 1}
