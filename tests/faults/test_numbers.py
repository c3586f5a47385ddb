"""Losses that are NaN, and networks that did not learn."""

import json
import re

from twofour.network import architecture, scope
from twofour.system.errors import TwoFourError
from twofour.train import checkpoint, metrics, training_graph

import numpy as np
import paddle
import pytest
import yaml
from conftest import TINY, make_images, merged, named_rules, program, snakemake
from plans import plan

# With this weight decay the weights oscillate and explode, after some steps that still work.
WILD = {
    "train": {
        "epochs": 20,
        "learning_rate": 100,
        "batch_size": 20,
        "warmup_epochs": 3,
        "momentum": 0.99,
        "weight_decay": 1.0,
        "checkpoint_minutes": 1e-6,
    }
}


def test_loss_that_is_no_number_names_step_rate_and_scale_and_keeps_the_last_good(
    prepared, tmp_path
):
    config = json.dumps(merged(TINY, WILD))
    done = program(
        *("train.py", "--config", config, "--data", prepared, "--out", tmp_path), check=False
    )
    assert done.returncode == 1
    # Which of the two notices first depends on the step at which the weights overflow.
    assert re.search(
        r"the training loss is nan from step \d+ of epoch|validation loss is nan after", done.stderr
    )
    assert "at learning rate" in done.stderr
    assert "train.learning_rate" in done.stderr and "Traceback" not in done.stderr
    newest = max((tmp_path / "checkpoints").glob("step*.npz"))
    kept = checkpoint.load(newest).variables
    assert all(np.isfinite(array).all() for array in kept.values())
    assert not (tmp_path / "model.pdparams").exists()


def test_graph_counts_the_steps_before_the_first_loss_that_is_nan():
    """Even though Paddle's ReLU turns NaN into 0, so that the loss itself stays finite."""
    given = plan({"train": {"layout": "NCHW"}})
    built = training_graph.build(given, lambda step: 0.01)
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(built.startup)
    images = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype("float32")
    for step in range(5):
        if step == 3:
            images[1, 2, 3, 4] = np.nan
        feed = {architecture.IMAGES: images, training_graph.LABELS: np.array([0, 1, 0, 1])}
        executor.run(built.main, feed=feed)
    found = scope.read([training_graph.LOSS_SUM, training_graph.FINITE_STEPS])
    assert found[training_graph.FINITE_STEPS][0] == 3
    assert np.isnan(found[training_graph.LOSS_SUM][0])


@pytest.mark.parametrize(
    ("labels", "limit"),
    [
        (np.arange(50_000) % 1000, 0.1 + 200 * (0.001 * 0.999 / 50_000) ** 0.5),
        (np.array([0] * 90 + [1] * 10), 90 + 200 * (0.9 * 0.1 / 100) ** 0.5),
        (np.array([0, 1]), 100.0),  # two images prove nothing
    ],
)
def test_chance(labels, limit):
    assert metrics.chance_top1(labels) == pytest.approx(limit)


def test_at_chance_is_refused_and_above_is_not():
    summary = {"top1": 12.0, "chance_top1": 12.0, "val_images": 100}
    with pytest.raises(TwoFourError, match=r"did not learn.*12\.00 %.*sparsity\.require_learnt"):
        metrics.require_learnt(summary, "train.json")
    metrics.require_learnt({**summary, "top1": 12.01}, "train.json")


@pytest.mark.workflow
def test_untaught_network_stops_before_it_is_pruned_with_a_switch_to_go_on(tmp_path):
    make_images(tmp_path / "images")
    lazy = {"epochs": 1, "warmup_epochs": 0, "learning_rate": 1e-6}
    config = merged(TINY, {"run": "lazy", "data": {"root": "images"}, "train": lazy})
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    target = ("results/lazy/pruned/model.pdparams", "--configfile", "c.yaml", "--cores", 1)
    done = snakemake(tmp_path, *target, check=False)
    assert done.returncode != 0
    assert "error: prune: the dense network did not learn" in done.stderr.splitlines()[-1]
    assert (tmp_path / "results/lazy/dense/model.pdparams").exists()
    config["sparsity"] = {"require_learnt": False}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, *target)
    assert named_rules(done.stdout + done.stderr) == {"prune"}
