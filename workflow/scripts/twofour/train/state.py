"""Where a training stands: its variables, its place in the epochs, its history; saved and resumed.

A checkpoint holds all of it, so that a resumed training ends bit for bit as an uninterrupted one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import CHECKPOINTS
from ..data.lists import Dataset
from ..network import graph, scope
from ..quantization import fake
from ..sparse import asp
from ..system import sections
from ..system.cli import log
from ..system.files import remove_leftovers
from . import best, checkpoint, health, parallel, recipe, training_graph
from .feeder import Feeder
from .parallel import Group
from .plan import Plan, Start
from .training_graph import FINITE_STEPS, LOSS_SUM, TEACHER
from .updater import Updater

_BEST = "best:"  # how names of the best epoch's weights begin in a checkpoint
CHECKPOINT_SHARE = 0.02  # of the time, at most, for checkpoints at the ends of very short epochs


class State:
    """A training from its ``start``, or from where the last checkpoint in ``out`` left it.

    ``epoch`` counts the epochs that are done, ``step`` the steps done of the next one; ``history``
    has a row for each epoch; ``times`` are seconds: of this epoch's data and compute, and in all.
    """

    def __init__(self, plan: Plan, dataset: Dataset, start: Start, out: Path) -> None:
        self.plan, self.dataset, self.out = plan, dataset, out
        self.masks, self.known = start.masks, start.known
        self.epoch = self.step = self.resumed = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, np.ndarray] = {}  # weights of the best epoch, if they are to be kept
        self.times = {"data": 0.0, "compute": 0.0, "seconds": 0.0, "checkpoints": 0.0}
        self._saved_at, self._save_cost = 0.0, 0.0

        folder = out / CHECKPOINTS
        if plan.group.rank == 0:
            remove_leftovers(folder)
        self.fingerprint = fingerprint(plan, start)
        self.writer = checkpoint.Writer(folder)
        saved = checkpoint.latest(folder, self.fingerprint, self._warn)
        epoch, loaders = (saved.meta["epoch"], saved.loaders) if saved else (0, None)
        self.feeder = Feeder(plan, dataset.train, epoch, loaders)
        taught = start.teacher is not None
        self.graph = training_graph.build(plan, self.learning_rate, self.masks, taught)
        health.require_precision(self.graph.precision, plan.precision)
        self.place = graph.place(plan.machine.device, plan.machine.gpu)
        self.update = Updater(plan, self.graph, self.place)
        self._write_start(start)
        self._conv_start = self._conv_weights()
        if saved:
            self._restore(saved)
        self.begun = (self.epoch, self.step)
        self._require_agreement()

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.feeder.steps

    @property
    def done(self) -> int:
        """Updates since the beginning."""
        return self.epoch * self.steps + self.step

    def learning_rate(self, update: int) -> float:
        """The learning rate of update number ``update`` (from 0)."""
        return recipe.learning_rate(update, self.steps, self.plan.train, self.plan.shards)

    def images_per_second(self) -> float:
        """Throughput of this epoch so far."""
        busy = self.times["data"] + self.times["compute"]
        return self.step * self.plan.images_per_step / busy if busy else 0.0

    # --- an epoch ---

    def begin_epoch(self) -> None:
        """Switch to the epoch's crop size, and reset its sums unless it is being resumed."""
        if self.feeder.resize(self.epoch) and self.plan.group.rank == 0:
            size = self.feeder.size
            log.info("epoch %d: training crops of %d×%d pixels", self.epoch + 1, size, size)
        if self.step == 0:
            zero = {name: np.zeros(1) for name in (LOSS_SUM, FINITE_STEPS)}
            scope.write(zero, self.place)
            self.times["data"] = self.times["compute"] = 0.0

    def count_step(self, data: float, compute: float) -> None:
        """Count a step that took ``data`` and ``compute`` seconds."""
        self.step += 1
        self.times["data"] += data
        self.times["compute"] += compute
        self.times["seconds"] += data + compute

    def end_epoch(
        self, row: dict[str, Any], weights: dict[str, np.ndarray], seconds: float
    ) -> None:
        """Count an epoch that is done; ``row`` is its line of metrics.csv, of these ``weights``."""
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        self.times["seconds"] += seconds
        if self.plan.train.keep == "best" and best.best(self.history) == self.epoch - 1:
            self.best = weights

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or those that brought nothing better are too many."""
        train = self.plan.train
        return self.epoch >= train.epochs or best.stalled(self.history, train.patience)

    @property
    def kept_epoch(self) -> int:
        """Number (from 0) of the epoch whose weights are the result."""
        return best.best(self.history) if self.plan.train.keep == "best" else self.epoch - 1

    def loss_sum(self) -> float:
        """The sum of the epoch's losses so far; TwoFourError if one of them was not finite."""
        names = [LOSS_SUM, FINITE_STEPS]
        held = scope.read(names)
        sums = self.plan.group.gather(np.concatenate([held[name] for name in names]))
        total = float(sum(s[0] for s in sums))
        # from 0; not all of an update's batches need have had a finite loss
        step = int(min(s[1] for s in sums)) // self.plan.train.accumulation
        rate = self.learning_rate(self.epoch * self.steps + step)
        where = f"from step {step + 1} of epoch {self.epoch + 1} on"
        health.require_finite_loss(total, where, rate, self.loss_scale(), self.plan.precision)
        return total

    def loss_scale(self) -> float:
        """The present loss scale of mixed precision; 1 without it."""
        name = self.graph.loss_scale
        return float(scope.read([name])[name][0]) if name else 1.0

    # --- weights ---

    def weights(self) -> dict[str, np.ndarray]:
        """What is validated and saved: fp32, averaged if asked for, statistics of all processes.

        With the ranges of rounded activations, where there are any.
        """
        network, ranges = self.plan.network, self.plan.ranges
        names = [*network.state, *ranges]
        stand_ins = self.graph.averages or self.graph.master
        held = scope.read(stand_ins.get(name, name) for name in names)
        state = dict(zip(names, held.values()))
        statistics = {name: state[name] for name in (*network.statistics, *ranges)}
        return {**state, **parallel.mean(statistics, self.plan.group)}

    def movement(self) -> float:
        """‖w - w₀‖ / ‖w₀‖ over all convolution weights, w₀ being those at the start."""
        end, start = self._conv_weights(), self._conv_start
        moved = sum(float(np.square(end[n] - w, dtype=np.float64).sum()) for n, w in start.items())
        norm = sum(float(np.square(w, dtype=np.float64).sum()) for w in start.values())
        return (moved / norm) ** 0.5

    def _conv_weights(self) -> dict[str, np.ndarray]:
        master = self.graph.master
        names = [conv.weight for conv in self.plan.network.convs]
        held = scope.read(master.get(name, name) for name in names)
        return dict(zip(names, held.values()))

    def _write_start(self, start: Start) -> None:
        master, averages = self.graph.master, self.graph.averages
        if start.weights is not None:
            scope.write(start.weights, self.place)
            averaged = self.plan.rounding is not None and self.plan.rounding.average
            ranges = fake.first_values(start.limits, averaged)
            scope.write({n: np.full(1, v, np.float32) for n, v in ranges.items()}, self.place)
            frozen = training_graph.frozen(self.plan)
            masks = {n: m.astype(np.float32) for n, m in start.masks.items() if n not in frozen}
            scope.write({asp.mask_name(n): m for n, m in masks.items()}, self.place)
            copies = {master[n]: start.weights[n] for n in master if n in start.weights}
            scope.write(copies, self.place)
        names = list(self.plan.network.state)
        current = scope.read(master.get(name, name) for name in names)
        scope.write({averages[n]: current[master.get(n, n)] for n in averages}, self.place)
        teacher = {TEACHER + name: array for name, array in (start.teacher or {}).items()}
        scope.write(teacher, self.place)

    # --- checkpoints ---

    def save(self) -> None:
        """Write a checkpoint of the present state; TwoFourError if the loss is no longer finite."""
        clock = time.perf_counter()
        if self.step:
            self.loss_sum()
        meta = {
            "epoch": self.epoch,
            "step": self.step,
            "history": list(self.history),
            "times": dict(self.times),
            "resumed": self.resumed,
            "fingerprint": self.fingerprint,
        }
        mine = scope.read(self.graph.local)
        loaders = self.feeder.states()
        flat = np.concatenate([v.ravel().astype(np.float64) for v in mine.values()])
        ranks = [parallel.unflatten(values, mine) for values in self.plan.group.gather(flat)]
        if self.plan.group.rank == 0:
            variables = scope.read(set(self.graph.state) - set(self.graph.local))
            variables.update({_BEST + name: array for name, array in self.best.items()})
            self.writer.save(self.done, checkpoint.Checkpoint(variables, ranks, loaders, meta))
        self._saved_at = time.perf_counter()
        self._save_cost = self._saved_at - clock
        self.times["checkpoints"] += self._save_cost

    def save_is_due(self) -> bool:
        """Whether the last checkpoint is long enough ago to write one at the end of an epoch."""
        return time.perf_counter() - self._saved_at >= self._save_cost / CHECKPOINT_SHARE

    def _restore(self, saved: checkpoint.Checkpoint) -> None:
        start = len(_BEST)
        kept = {n: array for n, array in saved.variables.items() if n.startswith(_BEST)}
        self.best = {name[start:]: array for name, array in kept.items()}
        scope.write({n: a for n, a in saved.variables.items() if n not in kept}, self.place)
        scope.write(_local_state(saved.ranks, self.plan.group), self.place)
        meta = saved.meta
        self.epoch, self.step = meta["epoch"], meta["step"]
        self.history, self.times = meta["history"], meta["times"]
        self.resumed = meta["resumed"] + 1
        log.info("resuming at epoch %d, step %d", self.epoch + 1, self.step)

    def _warn(self, sentence: str) -> None:
        if self.plan.group.rank == 0:
            log.warning(sentence)

    def _require_agreement(self) -> None:
        """Raise TwoFourError unless all processes begin at the same step with the same weights."""
        total = sum(float(w.sum(dtype=np.float64)) for w in self._conv_weights().values())
        begins = self.plan.group.gather(np.asarray([self.epoch, self.step, total]))
        health.require_same_begin(begins, self.out)


def fingerprint(plan: Plan, start: Start) -> dict[str, Any]:
    """What determines the outcome of a training; only a checkpoint with the same one can be used.

    Keys of the configuration that do not matter here say so where they are declared.
    """
    on_cpu = plan.machine.device == "cpu"
    return {
        "seed": plan.seed,
        "model": sections.decisive(plan.model),
        "data": sections.decisive(plan.data),
        "train": {
            **sections.decisive(plan.train),
            "precision": plan.precision,
            "layout": plan.layout,
        },
        "shards": plan.shards,
        # On a GPU, threads only feed the loader, whose images do not depend on them.
        "hardware": {
            "device": plan.machine.device,
            "threads": plan.machine.threads if on_cpu else None,
        },
        **start.identity,
    }


def _local_state(ranks: list[dict[str, np.ndarray]], group: Group) -> dict[str, np.ndarray]:
    """This process's variables, from those of each process in a checkpoint."""
    if len(ranks) == group.size:
        return ranks[group.rank]
    state = {
        name: np.asarray(np.mean([r[name] for r in ranks], axis=0, dtype=np.float64), like.dtype)
        for name, like in ranks[0].items()
    }
    for name in (LOSS_SUM, FINITE_STEPS):  # sums over a process's batches
        state[name] = np.asarray(sum(r[name] for r in ranks) / group.size)
    return state
