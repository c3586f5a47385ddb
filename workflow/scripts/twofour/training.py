"""The training loop: epochs, validation, checkpoints, and a stop that loses nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import paddle
import pandas as pd
from tqdm.contrib.logging import logging_redirect_tqdm

from . import (
    amp,
    checkpoint,
    hardware,
    launch,
    model,
    parallel,
    program,
    progress,
    recipe,
    slurm,
    sparsity,
    weights,
)
from .architecture import Architecture
from .cli import Interrupted, log
from .dataset import Dataset
from .errors import TwoFourError
from .files import atomic, remove_leftovers, write_json
from .hardware import Hardware
from .loader import Loader
from .metrics import Tally, chance_top1
from .parallel import Group

METRICS = (
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
KEEP_TENSORS_BYTES = 512e6  # up to here nothing is freed in the middle of a step on a CPU
CHECKPOINT_SHARE = 0.02  # of the time at most goes into those at the ends of very short epochs
CHECKPOINTS = "checkpoints"  # folder beside the results
CHECK_S = 10  # how often the loss is looked at within an epoch, which makes the step wait
REFRESH_S = 0.25  # how often the progress bar asks for the loss, which makes the step wait
AGREE_STEPS = {"cpu": 1, "gpu": 16}  # steps after which processes agree on whether to go on or save


class Training:
    """A training from its first or its last saved state to its artifacts.

    ``settings`` are the config's sections seed, data and train; ``identity`` adds to the
    fingerprint what else decides the result (code, dataset, start). ``initial`` are weights to
    start from, ``masks`` the 2:4 masks of a sparse training. Each process of ``group`` runs one of
    these; the first writes the results.
    """

    def __init__(
        self,
        settings: dict,
        machine: Hardware,
        precision: str,
        network: Architecture,
        dataset: Dataset,
        identity: dict,
        out: Path,
        group: Group,
        initial: dict[str, np.ndarray] | None = None,
        masks: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.settings, self.dataset, self.out = settings, dataset, out
        self.machine, self.precision, self.network = machine, precision, network
        self.group, self.masks = group, masks or {}
        self.accumulation = settings["train"]["accumulation"]
        self.shards = group.size * self.accumulation
        self.layout = machine.layout(settings["train"]["layout"])
        self.fingerprint = _fingerprint(settings, identity, machine, precision, self.shards)
        if group.rank == 0:
            remove_leftovers(self._checkpoints)
        self.writer = checkpoint.Writer(self._checkpoints)
        self._saved, self._save_cost = 0.0, 0.0  # when the last one was, and what it took
        found = checkpoint.latest(self._checkpoints, self.fingerprint, self._warn)

        self.size = recipe.train_size(found.meta["epoch"] if found else 0, settings["data"])
        self.train_loaders = self._train_loaders(found.loaders if found else None)
        self.steps = self.train_loaders[0].steps
        self.program = program.build_training(
            self.network,
            settings["data"],
            settings["train"],
            self._learning_rate,
            settings["seed"],
            machine.device,
            list(self.masks),
            precision,
            self.layout,
            group,
            self.accumulation,
        )
        if self.program.precision != precision:
            raise TwoFourError(
                f"train.precision is {precision}, but the training graph came out as "
                f"{self.program.precision}; this is a fault of the program, please report it"
            )
        if machine.device == "cpu":
            size = program.tensor_bytes(self.program.main, settings["train"]["batch_size"])
            if size <= KEEP_TENSORS_BYTES:
                hardware.keep_tensors()
        self._step_program = program.runnable(self.program.main, machine.device)
        if self.program.partial:
            self._partial_program = program.runnable(self.program.partial, machine.device)
        self.place = group.place
        self.executor = paddle.static.Executor(self.place)
        self.program.start(self.executor, self.place)
        self._prepare_validation()
        self._start(initial, found)

    # --- state ---

    @property
    def _checkpoints(self) -> Path:
        return self.out / CHECKPOINTS

    def _warn(self, sentence: str) -> None:
        if self.group.rank == 0:
            log.warning(sentence)

    def _train_loaders(self, states: list[bytes] | None) -> list[Loader]:
        """A loader for each batch that this process contributes to a step."""
        first = self.group.rank * self.accumulation
        return [
            self._loader(
                self.dataset.train[0],
                training=True,
                seed=self.settings["seed"],
                shard=shard,
                shards=self.shards,
                size=self.size,
                half=self.precision == "pure_fp16",
                state=states[shard] if states else None,
            )
            for shard in range(first, first + self.accumulation)
        ]

    def _loader(self, paths: list[str], **options) -> Loader:
        return Loader(
            paths,
            self.settings["train"]["batch_size"],
            self.settings["data"],
            self.network.input_channels,
            threads=self.machine.threads,
            device=self.machine.device,
            gpu=self.machine.gpu,
            layout=self.layout[1:],
            stay=True,
            **options,
        )

    def _prepare_validation(self) -> None:
        """Each process validates a part of the images, with weights in a scope of their own."""
        count = len(self.dataset.val[0])
        self._val_positions = np.array_split(np.arange(count), self.group.size)[self.group.rank]
        paths = [self.dataset.val[0][i] for i in self._val_positions]
        self.val_loader = self._loader(paths, training=False) if paths else None
        applied = program.build_inference(
            self.network, self.settings["data"], self.machine.device, self.layout
        )
        self._val_scope = paddle.static.Scope()
        self.executor.run(applied.startup, scope=self._val_scope)
        self.predict = applied.predictor(self.executor, self._val_scope)

    def _learning_rate(self, step: int) -> float:
        return recipe.learning_rate(step, self.steps, self.settings["train"], self.shards)

    def _start(self, initial: dict | None, found: checkpoint.Checkpoint | None) -> None:
        self.epoch = self.step = self.resumed = 0
        self.history: list[dict] = []
        self.times = {"data": 0.0, "compute": 0.0, "seconds": 0.0, "checkpoints": 0.0}
        if initial is not None:
            weights.write_scope(initial, self.place)
            named = {sparsity.mask_name(n): m.astype(np.float32) for n, m in self.masks.items()}
            weights.write_scope(named, self.place)
            master = self.program.master
            weights.write_scope({master[n]: initial[n] for n in master if n in initial}, self.place)
        names = model.state_names(self.network)
        current = weights.read_scope(self.program.master.get(name, name) for name in names)
        averages = self.program.averages
        first = {averages[n]: current[self.program.master.get(n, n)] for n in averages}
        weights.write_scope(first, self.place)
        self._conv_start = self._conv_weights()
        if found:
            weights.write_scope(found.variables, self.place)
            weights.write_scope(_local_state(found.ranks, self.group), self.place)
            meta = found.meta
            self.epoch, self.step = meta["epoch"], meta["step"]
            self.history, self.times = meta["history"], meta["times"]
            self.resumed = meta["resumed"] + 1
            log.info("resuming at epoch %d, step %d", self.epoch + 1, self.step)
        self._begun = (self.epoch, self.step)
        self._require_agreement()

    def _require_agreement(self) -> None:
        """Raise TwoFourError unless all processes begin at the same step with the same weights."""
        total = sum(float(w.sum(dtype=np.float64)) for w in self._conv_weights().values())
        begins = self.group.gather(np.asarray([self.epoch, self.step, total]))
        if any((begin != begins[0]).any() for begin in begins):
            raise TwoFourError(
                f"the processes of this training begin differently, some at epoch "
                f"{', '.join(f'{b[0] + 1:.0f}, step {b[1]:.0f}' for b in begins)}; do all of them "
                f"see the same files in {self.out}?"
            )

    def _save(self) -> None:
        """Write a checkpoint of this very moment, unless the loss is no number any more."""
        start = time.perf_counter()
        if self.step:
            self._check_loss()
        meta = {
            "epoch": self.epoch,
            "step": self.step,
            "history": list(self.history),
            "times": dict(self.times),
            "resumed": self.resumed,
            "fingerprint": self.fingerprint,
        }
        mine = weights.read_scope(self.program.local)
        loaders = self.group.gather_bytes([loader.state() for loader in self.train_loaders])
        flat = np.concatenate([v.ravel().astype(np.float64) for v in mine.values()])
        ranks = [parallel.unflatten(values, mine) for values in self.group.gather(flat)]
        if self.group.rank == 0:
            variables = weights.read_scope(set(self.program.state) - set(self.program.local))
            state = checkpoint.Checkpoint(
                variables, ranks, list(chain.from_iterable(loaders)), meta
            )
            self.writer.save(self.epoch * self.steps + self.step, state)
        self._saved, self._save_cost = time.perf_counter(), time.perf_counter() - start
        self.times["checkpoints"] += self._save_cost

    def _conv_weights(self) -> dict[str, np.ndarray]:
        master = self.program.master
        names = [conv.weight for conv in self.network.convs]
        found = weights.read_scope(master.get(name, name) for name in names)
        return dict(zip(names, found.values()))

    def _weights(self) -> dict[str, np.ndarray]:
        """What is validated and saved: fp32, averaged if asked for, statistics of all processes."""
        names = model.state_names(self.network)
        stand_ins = self.program.averages or self.program.master
        found = weights.read_scope(stand_ins.get(name, name) for name in names)
        state = dict(zip(names, found.values()))
        statistics = {name: state[name] for name in model.statistics(self.network)}
        return {**state, **parallel.mean(statistics, self.group)}

    # --- the loop ---

    def run(self) -> dict | None:
        """Train to the end and write model.pdparams, metrics.csv and train.json; returns the last.

        On SIGINT or SIGTERM it saves at the end of the step and raises Interrupted. In all but the
        first process it writes and returns nothing.
        """
        epochs = self.settings["train"]["epochs"]
        patience = launch.PATIENCE_S if self.group.size > 1 else 0.0
        with _stop_signals(patience) as stopped, logging_redirect_tqdm([log]):
            bar = progress.bar(
                epochs * self.steps, "training", "step", self.epoch * self.steps + self.step
            )
            try:
                with bar:
                    while self.epoch < epochs:
                        self._train_epoch(bar, stopped)
                        self._finish_epoch()
                        if self.group.any(stopped() > 0)[0]:
                            self._interrupt(stopped())
            finally:
                self.writer.wait()
        return self._write_results()

    def _train_epoch(self, bar, stopped: Callable[[], int]) -> None:
        _, labels = self.dataset.train
        bar.set_description(f"epoch {self.epoch + 1}/{self.settings['train']['epochs']}")
        self._resize()
        if self.step == 0:
            zero = {name: np.zeros(1) for name in (program.LOSS_SUM, program.FINITE_STEPS)}
            weights.write_scope(zero, self.place)
            self.times["data"] = self.times["compute"] = 0.0
        agree = AGREE_STEPS[self.machine.device] if self.group.size > 1 else 1
        saved = shown = checked = clock = time.perf_counter()
        for batches in zip(*(loader.epoch(self.step) for loader in self.train_loaders)):
            loaded = time.perf_counter()
            show = not bar.disable and loaded - shown >= REFRESH_S
            fetched = self._update(batches, labels, show)
            self.step += 1
            done = time.perf_counter()
            self.times["data"] += loaded - clock
            self.times["compute"] += done - loaded
            self.times["seconds"] += done - clock
            if show:
                shown = done
                loss = float(np.ravel(fetched[0])[0])
                bar.set_postfix_str(f"loss {loss:.3f}, {self._images_per_second():.0f} img/s")
            bar.update()
            if self.step < self.steps and self.step % agree == 0:
                leads = self.group.rank == 0  # whose clock counts
                minutes = self.settings["train"]["checkpoint_minutes"]
                stop, check, save = self.group.any(
                    stopped() > 0,
                    leads and done - checked >= CHECK_S,
                    leads and done - saved >= 60 * minutes,
                )
                if stop:
                    self._interrupt(stopped())
                if check:
                    self._check_loss()
                    checked = time.perf_counter()
                if save:
                    self._save()
                    saved = time.perf_counter()
            clock = time.perf_counter()

    def _update(self, batches: tuple, labels: np.ndarray, show: bool) -> list:
        """One step: all its batches, of which the last one's loss is fetched if asked for."""
        update = self.epoch * self.steps + self.step
        self.program.scheduler.step(update)
        fetched = []
        for number, (images, positions) in enumerate(batches, start=1):
            feed = {program.IMAGES: images, program.LABELS: labels[positions]}
            last = number == len(batches)
            if last and self.program.averages:
                decay = recipe.ema_decay(update, self.settings["train"]["ema"])
                feed[program.EMA_DECAY] = np.asarray([decay], dtype=np.float32)
            wanted = [self.program.loss] if show and last else []
            part = self._step_program if last else self._partial_program
            with self.group.watched():
                fetched = self.executor.run(part, feed=feed, fetch_list=wanted)
        return fetched

    def _resize(self) -> None:
        """Crops of the epoch's size; the new loaders go on where the old ones stand."""
        size = recipe.train_size(self.epoch, self.settings["data"])
        if size != self.size:
            self.size = size
            states = self.group.gather_bytes([loader.state() for loader in self.train_loaders])
            self.train_loaders = self._train_loaders(list(chain.from_iterable(states)))
            if self.group.rank == 0:
                log.info("epoch %d: training crops of %d×%d pixels", self.epoch + 1, size, size)

    def _finish_epoch(self) -> None:
        clock = time.perf_counter()
        used = self.program.learning_rate()
        self._check_learning_rate(used)
        loss = self._check_loss() / (self.steps * self.shards)
        result = self._validate()
        if not np.isfinite(result["loss"]):
            raise TwoFourError(
                f"the validation loss is {result['loss']} after epoch {self.epoch + 1}, at "
                f"learning rate {used:.4g}; {_REMEDY}"
            )
        row = {
            "epoch": self.epoch + 1,
            "lr": used,
            "train_loss": loss,
            "val_loss": result["loss"],
            "top1": result["top1"],
            "top5": result["top5"],
            "images": self.steps * self._images_per_step,
            "img_s": self._images_per_second(),
            "data_time_s": self.times["data"],
            "compute_time_s": self.times["compute"],
        }
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        self.times["seconds"] += time.perf_counter() - clock
        last = self.epoch == self.settings["train"]["epochs"]
        due = time.perf_counter() - self._saved >= self._save_cost / CHECKPOINT_SHARE
        if self.group.any(last, due and self.group.rank == 0) != [False, False]:
            self._save()
        if self.group.rank != 0:
            return
        self._write_metrics()
        log.info(
            "epoch %d/%d: lr %.4g, training loss %.4f, validation loss %.4f, "
            "top-1 %.2f %%, top-5 %.2f %%, %.0f img/s",
            row["epoch"],
            self.settings["train"]["epochs"],
            *(row[k] for k in ("lr", "train_loss", "val_loss", "top1", "top5", "img_s")),
        )

    def _validate(self) -> dict:
        """Accuracy and loss over all validation images, each counted once, by all processes."""
        weights.write_scope(self._weights(), self.place, self._val_scope)
        tally = Tally(self.dataset.val[1])
        if self.val_loader:
            with hardware.without_tf32(self.machine):
                for images, positions in self.val_loader.epoch():
                    tally.add(self.predict(images), self._val_positions[positions])
        tally.reduce(self.group.sum)
        return tally.result()

    def _check_loss(self) -> float:
        """The sum of the epoch's losses so far; TwoFourError if one of them was no number."""
        names = [program.LOSS_SUM, program.FINITE_STEPS]
        found = weights.read_scope(names)
        sums = self.group.gather(np.concatenate([found[name] for name in names]))
        total = float(sum(s[0] for s in sums))
        if not np.isfinite(total):
            # from 0; not all of an update's batches need have had one
            step = int(min(s[1] for s in sums)) // self.accumulation
            rate = self._learning_rate(self.epoch * self.steps + step)
            raise TwoFourError(
                f"the training loss is {total} from step {step + 1} of epoch {self.epoch + 1} on, "
                f"at learning rate {rate:.4g} and loss scale {self._loss_scale():g} "
                f"({self.precision}); {_REMEDY}"
            )
        return total

    def _loss_scale(self) -> float:
        """By what mixed precision multiplies the loss at present."""
        name = self.program.loss_scale
        return float(weights.read_scope([name])[name][0]) if name else 1.0

    def _check_learning_rate(self, used: float) -> None:
        # A scheduler that the executor no longer reads leaves the rate at 0, silently.
        wanted = self._learning_rate(self.epoch * self.steps + self.steps - 1)
        if not np.isclose(used, wanted, rtol=1e-5, atol=1e-12):
            raise TwoFourError(
                f"the graph used learning rate {used:.6g} where the schedule says {wanted:.6g}; "
                "this is a fault of the program, please report it"
            )

    @property
    def _images_per_step(self) -> int:
        return self.settings["train"]["batch_size"] * self.shards

    def _images_per_second(self) -> float:
        busy = self.times["data"] + self.times["compute"]
        return self.step * self._images_per_step / busy if busy else 0.0

    def _interrupt(self, number: int) -> None:
        """Save and raise Interrupted, for a signal that this process may have got, or another."""
        self._save()
        self.writer.wait()
        # Nobody leaves before the first process has written.
        time_is_up = self.group.any(number == slurm.TIME_IS_NEARLY_UP)[0]
        reason, again = "", False
        if time_is_up:
            reason = f", since {launch.TIME_IS_UP}"
            again = (self.epoch, self.step) > self._begun
            if not again:
                reason = ", since no time was left for a single step"
        raise Interrupted(
            f"{launch.STOPPED} {self.epoch}, step {self.step} of the next{reason}; "
            "saved, so the same command goes on from here",
            again,
        )

    # --- results ---

    def _write_metrics(self) -> None:
        with atomic(self.out / "metrics.csv") as temporary:
            pd.DataFrame(self.history, columns=list(METRICS)).to_csv(temporary, index=False)

    def _write_results(self) -> dict | None:
        state = self._weights()
        if self.group.rank != 0:
            self.group.any(False)  # until the results are written
            return None
        sparsity.require(state, self.masks, "the trained network")
        movement = self._movement()
        if movement == 0.0:
            raise TwoFourError(
                "training did not move a single convolution weight; this is a fault of the "
                "program, please report it"
            )
        last = self.history[-1]
        summary = {
            "model": self.network.name,
            "classes": self.network.classes,
            "parameters": self.network.parameters,
            "device": self.machine.device,
            "device_name": self.machine.name,
            "precision": self.program.precision,
            "arithmetic": {
                op: kinds
                for op, kinds in amp.arithmetic(self.program.main).items()
                if op in amp.COMPUTING
            },
            "loss_scale": self._loss_scale(),
            "layout": self.layout,
            "processes": self.group.size,
            "threads": self.machine.threads,
            "epochs": self.epoch,
            "steps_per_epoch": self.steps,
            "batch_size": self.settings["train"]["batch_size"],
            "images_per_step": self._images_per_step,
            "peak_learning_rate": recipe.peak_learning_rate(self.settings["train"], self.shards),
            "top1": last["top1"],
            "top5": last["top5"],
            "val_loss": last["val_loss"],
            "val_images": len(self.dataset.val[1]),
            "chance_top1": chance_top1(self.dataset.val[1]),
            "median_img_s": float(np.median([row["img_s"] for row in self.history])),
            "seconds": self.times["seconds"],
            "checkpoint_seconds": self.times["checkpoints"],
            "resumed": self.resumed,
            "relative_weight_change": movement,
        }
        self._write_metrics()
        weights.save(self.out / "model.pdparams", state)
        write_json(self.out / "train.json", summary)
        self.group.any(False)
        return summary

    def _movement(self) -> float:
        """‖w - w₀‖ / ‖w₀‖ over all convolution weights, w₀ being those at the start."""
        end = self._conv_weights()
        moved = sum(
            float(np.square(end[n] - w, dtype=np.float64).sum())
            for n, w in self._conv_start.items()
        )
        norm = sum(float(np.square(w, dtype=np.float64).sum()) for w in self._conv_start.values())
        return (moved / norm) ** 0.5


_REMEDY = "lower train.learning_rate or raise train.warmup_epochs (the last good checkpoint stays)"


def _fingerprint(settings: dict, identity: dict, machine, precision: str, shards: int) -> dict:
    # That the batches of a step were divided otherwise between processes makes no other training.
    other = ("checkpoint_minutes", "accumulation")
    train = {k: v for k, v in settings["train"].items() if k not in other}
    train["precision"] = precision
    used = {k: settings[k] for k in ("seed", "model")}
    pictures = ("image_size", "train_size", "resize", "crop_area", "crop_ratio", "flip")
    used["data"] = {k: settings["data"][k] for k in (*pictures, "mean", "std", "decoder")}
    return {
        **used,
        "train": train,
        "shards": shards,
        # On a GPU, threads only feed the loader, whose images do not depend on them.
        "hardware": {
            "device": machine.device,
            "threads": machine.threads if machine.device == "cpu" else None,
        },
        **identity,
    }


def _local_state(ranks: list[dict[str, np.ndarray]], group: Group) -> dict[str, np.ndarray]:
    """What of a checkpoint's variables of each process this one takes."""
    if len(ranks) == group.size:
        return ranks[group.rank]
    state = {name: np.mean([r[name] for r in ranks], axis=0, dtype=np.float64) for name in ranks[0]}
    state = {name: value.astype(ranks[0][name].dtype) for name, value in state.items()}
    for name in (program.LOSS_SUM, program.FINITE_STEPS):  # sums over a process's batches
        state[name] = sum(r[name] for r in ranks) / group.size
    return state


@contextmanager
def _stop_signals(patience: float) -> Iterator[Callable[[], int]]:
    """Turn signals into a number, to be asked for between steps, 0 for none; a second one kills.

    Those that follow the first within ``patience`` seconds mean the same: paddle.distributed.launch
    sends several. The process that started this one may also ask for a stop (see :mod:`launch`).
    """
    first: list[tuple[int, float]] = []

    def note(number, frame):
        if not first:
            first.append((number, time.monotonic()))
        elif time.monotonic() - first[0][1] > patience:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    old = {number: signal.signal(number, note) for number in launch.STOP_SIGNALS}
    try:
        yield lambda: first[0][0] if first else launch.stop_asked()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
