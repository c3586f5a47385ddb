"""Training on GPUs, run as a user runs it."""

import json

from twofour.network import weights
from twofour.sparse import pattern
from twofour.system import hardware
from twofour.system.settings import Hardware
from twofour.train import precision

import pandas as pd
import pytest
from conftest import TINY, merged, program

if hardware.gpus():
    WHY_NOT = hardware._why_not(hardware.gpus())
    pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")
    MACHINE = hardware.resolve(Hardware(threads=1))
    OFFERED = precision.offered(MACHINE)
else:
    OFFERED = ("fp32",)

GPU = {"hardware": {"device": "gpu"}, "train": {"epochs": 6}, "model": {"input_channels": 4}}


def train(data, out, *changes, start=None):
    extra = ["--start", start] if start else []
    text = json.dumps(merged(TINY, GPU, *changes))
    return program("train.py", "--config", text, "--data", data, "--out", out, *extra)


@pytest.mark.parametrize("precision", OFFERED)
def test_each_precision_learns_and_says_what_ran(prepared, tmp_path, precision):
    train(prepared, tmp_path, {"train": {"precision": precision}})
    record = json.loads((tmp_path / "train.json").read_text())
    assert (record["precision"], record["device"], record["layout"]) == (precision, "gpu", "NHWC")
    assert record["top1"] > 90
    assert (pd.read_csv(tmp_path / "metrics.csv")["train_loss"] < 2).all()


@pytest.mark.parametrize("precision", [p for p in OFFERED if p.endswith("fp16")])
def test_pattern_holds_after_sparse_training(prepared, tmp_path, precision):
    change = {"train": {"precision": precision}}
    train(prepared, tmp_path / "dense", change)
    text = json.dumps(merged(TINY, GPU, change))
    dense = tmp_path / "dense" / "model.pdparams"
    program("prune.py", "--config", text, "--weights", dense, "--out", tmp_path / "pruned")
    train(prepared, tmp_path / "sparse", change, start=tmp_path / "pruned")
    trained = weights.load(tmp_path / "sparse" / "model.pdparams")
    report = json.loads((tmp_path / "sparse" / "sparsity.json").read_text())
    names = [layer["name"] for layer in report["layers"] if layer["sparse"]]
    assert names and all(pattern.holds(trained[name]) for name in names)


@pytest.mark.skipif(len(hardware.gpus()) < 2, reason="this machine has fewer than two GPUs")
def test_two_gpus_equal_one_that_takes_their_batches_in_turn(prepared, tmp_path):
    half = {"train": {"batch_size": 4, "precision": "fp32", "learning_rate": 0.2}}
    train(prepared, tmp_path / "two", half, {"hardware": {"gpus": 2}})
    train(prepared, tmp_path / "one", half, {"train": {"accumulation": 2}})
    two, one = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("two", "one"))
    assert two["train_loss"].tolist() == pytest.approx(one["train_loss"].tolist(), rel=0.05)
