"""What a training leaves behind: weights, a row for each epoch, and a summary."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np

from ..artifacts import LAST_WEIGHTS, METRICS, RANGES, TRAINING, WEIGHTS
from ..network import weights
from ..quantization import fake
from ..sparse import pattern
from ..system.files import atomic, write_json
from . import amp, health, recipe
from .metrics import chance_top1
from .state import State

COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "val_loss",
    "top1",
    "top5",
    "images",
    "img_s",
    "data_time_s",
    "compute_time_s",
)


def write_metrics(state: State) -> None:
    """metrics.csv, with the epochs so far; the first process alone writes it."""
    if state.plan.group.rank == 0:
        with atomic(state.out / METRICS) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(state.history)


def write(state: State) -> dict[str, Any] | None:
    """model.pdparams, metrics.csv and train.json; returns the last.

    All processes must call it; only the first writes and returns anything.
    """
    last = state.weights()
    final = state.best or last
    if state.plan.group.rank != 0:
        state.plan.group.any(False)  # waits until the results are written
        return None
    pattern.require(final, state.masks, "the trained network")
    movement = state.movement()
    fastest = max(row["lr"] for row in state.history)
    health.require_movement(movement, fastest, state.plan.train.warmup_epochs)
    summary = _summary(state, movement)
    write_metrics(state)
    names = state.plan.network.state
    weights.save(state.out / WEIGHTS, {name: final[name] for name in names})
    if state.plan.rounding:
        fake.write(state.out / RANGES, final)
    if state.best:
        weights.save(state.out / LAST_WEIGHTS, {name: last[name] for name in names})
    else:
        (state.out / LAST_WEIGHTS).unlink(missing_ok=True)
    write_json(state.out / TRAINING, summary)
    state.plan.group.any(False)
    return summary


def _summary(state: State, movement: float) -> dict[str, Any]:
    plan, kept, labels = state.plan, state.history[state.kept_epoch], state.dataset.val.labels
    arithmetic = amp.arithmetic(state.graph.main)
    return {
        "model": plan.network.name,
        "classes": plan.network.classes,
        "parameters": plan.network.parameters,
        "device": plan.machine.device,
        "device_name": plan.machine.name,
        "precision": state.graph.precision,
        "arithmetic": {op: kinds for op, kinds in arithmetic.items() if op in amp.COMPUTING},
        "loss_scale": state.loss_scale(),
        "layout": plan.layout,
        "processes": plan.group.size,
        "threads": plan.machine.threads,
        "epochs": state.epoch,
        "kept_epoch": kept["epoch"],
        "steps_per_epoch": state.steps,
        "batch_size": plan.train.batch_size,
        "images_per_step": plan.images_per_step,
        "peak_learning_rate": recipe.peak_learning_rate(plan.train, plan.shards),
        "top1": kept["top1"],
        "top5": kept["top5"],
        "val_loss": kept["val_loss"],
        "val_images": len(labels),
        "known_val_images": state.known,
        "chance_top1": chance_top1(labels),
        "median_img_s": float(np.median([row["img_s"] for row in state.history])),
        "seconds": state.times["seconds"],
        "checkpoint_seconds": state.times["checkpoints"],
        "resumed": state.resumed,
        "relative_weight_change": movement,
    }
