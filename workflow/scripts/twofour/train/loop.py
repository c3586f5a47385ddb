"""The training loop: epochs of updates, validation, checkpoints, and a stop that loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from ..artifacts import TENSORBOARD
from ..data.lists import Dataset
from ..system.cli import log
from . import best, estimate, health, launch, outcome, stopping
from .board import Board
from .display import Display
from .plan import Plan, Start
from .state import State
from .validation import Validation

CHECK_S = 10  # how often the loss is checked within an epoch, which makes the step wait
AGREE_STEPS = {"cpu": 1, "gpu": 16}  # steps after which processes agree on whether to save or stop


def train(plan: Plan, dataset: Dataset, start: Start, out: Path) -> dict[str, Any] | None:
    """Train to the end, from the last checkpoint in ``out`` if there is one, and write the results.

    Each process of the plan's group runs this. Returns what train.json holds in the first process,
    and None in the others. On SIGINT or SIGTERM it saves at the end of the step and raises
    Interrupted.
    """
    state = State(plan, dataset, start, out)
    validation = Validation(plan, dataset)
    patience = launch.PATIENCE_S if plan.group.size > 1 else 0.0
    progress = (plan.train.epochs, state.steps, state.done)
    val_images = len(dataset.val.paths)
    sparse, processes = bool(start.masks), plan.group.size
    clock = estimate.Clock(*progress, plan.images_per_step, val_images, sparse, processes)
    display = Display(*progress, plan.group.rank == 0, clock)
    board = None
    if plan.train.tensorboard and plan.group.rank == 0:
        board = Board(out / TENSORBOARD, state.history)
    with stopping.signals(patience) as stopped, logging_redirect_tqdm([log]):
        try:
            with display:
                while not state.finished:
                    _updates(state, display, stopped)
                    _end_epoch(state, validation, display, board)
                    if plan.group.any(stopped() > 0)[0]:
                        stopping.interrupt(state, stopped())
        finally:
            state.writer.wait()
            if board:
                board.close()
    return outcome.write(state)


def _updates(state: State, display: Display, stopped: Callable[[], int]) -> None:
    """The remaining steps of an epoch, with checkpoints in between."""
    plan, labels = state.plan, state.dataset.train.labels
    state.begin_epoch()
    display.begin_epoch(state.epoch)
    agree = AGREE_STEPS[plan.machine.device] if plan.group.size > 1 else 1
    saved = checked = clock = time.perf_counter()
    for batches in state.feeder.epoch(state.step):
        loaded = time.perf_counter()
        loss = state.update(state.done, batches, labels, display.wants_loss())
        done = time.perf_counter()
        state.count_step(loaded - clock, done - loaded)
        display.step(loss, state.images_per_second())
        if state.step < state.steps and state.step % agree == 0:
            leads = plan.group.rank == 0  # only its clock counts
            stop, check, save = plan.group.any(
                stopped() > 0,
                leads and done - checked >= CHECK_S,
                leads and done - saved >= 60 * plan.train.checkpoint_minutes,
            )
            if stop:
                stopping.interrupt(state, stopped())
            if check:
                state.loss_sum()
                checked = time.perf_counter()
            if save:
                state.save()
                saved = time.perf_counter()
        clock = time.perf_counter()


def _end_epoch(state: State, validation: Validation, display: Display, board: Board | None) -> None:
    """Validate, write the epoch's row, and save."""
    clock = time.perf_counter()
    plan, rate = state.plan, state.graph.learning_rate()
    health.require_rate(rate, state.learning_rate(state.done - 1))
    train_loss = state.loss_sum() / (state.steps * plan.shards)
    weights = state.weights()
    result = validation.run(weights)
    health.require_finite_validation(result["loss"], state.epoch + 1, rate)
    row = {
        "epoch": state.epoch + 1,
        "lr": rate,
        "train_loss": train_loss,
        "val_loss": result["loss"],
        "top1": result["top1"],
        "top5": result["top5"],
        "images": state.steps * plan.images_per_step,
        "img_s": state.images_per_second(),
        "data_time_s": state.times["data"],
        "compute_time_s": state.times["compute"],
    }
    state.end_epoch(row, weights, time.perf_counter() - clock)
    if any(plan.group.any(state.finished, state.save_is_due() and plan.group.rank == 0)):
        state.save()
    outcome.write_metrics(state)
    if board:
        board.add(row)
    display.end_epoch(row)
    if state.finished and state.epoch < plan.train.epochs and plan.group.rank == 0:
        log.info(
            "ended early: no better epoch than number %d in the last %d (train.patience)",
            best.best(state.history) + 1,
            plan.train.patience,
        )
