"""The training loop: epochs, validation, checkpoints, and a stop that loses nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle
import pandas as pd
from tqdm.contrib.logging import logging_redirect_tqdm

from . import checkpoint, model, program, progress, recipe, sparsity, weights
from .architecture import Architecture
from .cli import Interrupted, log
from .dataset import Dataset
from .errors import TwoFourError
from .files import atomic, remove_leftovers, write_json
from .hardware import Hardware
from .loader import Loader
from .metrics import Tally, chance_top1

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
CHECKPOINT_SHARE = 0.02  # of the time at most goes into those at the ends of very short epochs
CHECKPOINTS = "checkpoints"  # folder beside the results
CHECK_S = 10  # how often the loss is looked at within an epoch, which makes the step wait
REFRESH_S = 0.25  # how often the progress bar asks for the loss, which makes the step wait


class Training:
    """A training from its first or its last saved state to its artifacts.

    ``settings`` are the config's sections seed, data and train; ``identity`` adds to the
    fingerprint what else decides the result (code, dataset, start). ``initial`` are weights to
    start from, ``masks`` the 2:4 masks of a sparse training.
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
        initial: dict[str, np.ndarray] | None = None,
        masks: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.settings, self.dataset, self.out = settings, dataset, out
        self.machine, self.precision, self.network = machine, precision, network
        self.masks = masks or {}
        self.fingerprint = _fingerprint(settings, identity, self.machine, self.precision)
        remove_leftovers(self._checkpoints)
        self.writer = checkpoint.Writer(self._checkpoints)
        self._saved, self._save_cost = 0.0, 0.0  # when the last one was, and what it took
        found = checkpoint.latest(self._checkpoints, self.fingerprint, log.warning)

        self.train_loader = self._loader(training=True, state=found.loader if found else None)
        self.val_loader = self._loader(training=False)
        self.steps = self.train_loader.steps
        self.program = program.build_training(
            self.network,
            settings["data"],
            settings["train"],
            self._learning_rate,
            settings["seed"],
            self.machine.device,
            list(self.masks),
        )
        self.place = program.place(self.machine.device)
        self.executor = paddle.static.Executor(self.place)
        self.executor.run(self.program.startup)
        applied = program.build_inference(self.network, settings["data"], self.machine.device)
        self.predict = applied.predictor(self.executor)
        self._start(initial, found)

    # --- state ---

    @property
    def _checkpoints(self) -> Path:
        return self.out / CHECKPOINTS

    def _loader(self, training: bool, state: bytes | None = None) -> Loader:
        paths, _ = self.dataset.train if training else self.dataset.val
        return Loader(
            paths,
            self.settings["train"]["batch_size"],
            self.settings["data"],
            self.network.input_channels,
            training=training,
            threads=self.machine.threads,
            device=self.machine.device,
            seed=self.settings["seed"],
            state=state,
        )

    def _learning_rate(self, step: int) -> float:
        return recipe.learning_rate(step, self.steps, self.settings["train"])

    def _start(self, initial: dict | None, found: checkpoint.Checkpoint | None) -> None:
        self.epoch = self.step = self.resumed = 0
        self.history: list[dict] = []
        self.times = {"data": 0.0, "compute": 0.0, "seconds": 0.0, "checkpoints": 0.0}
        if initial is not None:
            names = model.state_names(self.network)
            weights.require(initial, names, "the starting weights")
            weights.write_scope({name: initial[name] for name in names}, self.place)
            named = {sparsity.mask_name(n): m.astype(np.float32) for n, m in self.masks.items()}
            weights.write_scope(named, self.place)
        self._conv_start = self._conv_weights()
        if found:
            weights.write_scope(found.variables, self.place)
            meta = found.meta
            self.epoch, self.step = meta["epoch"], meta["step"]
            self.history, self.times = meta["history"], meta["times"]
            self.resumed = meta["resumed"] + 1
            log.info("resuming at epoch %d, step %d", self.epoch + 1, self.step)

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
        variables = weights.read_scope(self.program.state)
        state = checkpoint.Checkpoint(variables, self.train_loader.state(), meta)
        self.writer.save(self.epoch * self.steps + self.step, state)
        self._saved, self._save_cost = time.perf_counter(), time.perf_counter() - start
        self.times["checkpoints"] += self._save_cost

    def _conv_weights(self) -> dict[str, np.ndarray]:
        return weights.read_scope(conv.weight for conv in self.network.convs)

    # --- the loop ---

    def run(self) -> dict:
        """Train to the end and write model.pdparams, metrics.csv and train.json; returns the last.

        On SIGINT or SIGTERM it saves at the end of the step and raises Interrupted.
        """
        epochs = self.settings["train"]["epochs"]
        with _stop_signals() as stopped, logging_redirect_tqdm([log]):
            bar = progress.bar(
                epochs * self.steps, "training", "step", self.epoch * self.steps + self.step
            )
            try:
                with bar:
                    while self.epoch < epochs:
                        self._train_epoch(bar, stopped)
                        self._finish_epoch()
                        if stopped():
                            self._interrupt()
            finally:
                self.writer.wait()
        return self._write_results()

    def _train_epoch(self, bar, stopped: Callable[[], bool]) -> None:
        _, labels = self.dataset.train
        bar.set_description(f"epoch {self.epoch + 1}/{self.settings['train']['epochs']}")
        if self.step == 0:
            zero = {name: np.zeros(1) for name in (program.LOSS_SUM, program.FINITE_STEPS)}
            weights.write_scope(zero, self.place)
            self.times["data"] = self.times["compute"] = 0.0
        saved = shown = checked = clock = time.perf_counter()
        for images, positions in self.train_loader.epoch(self.step):
            loaded = time.perf_counter()
            show = not bar.disable and loaded - shown >= REFRESH_S
            self.program.scheduler.step(self.epoch * self.steps + self.step)
            fetched = self.executor.run(
                self.program.main,
                feed={program.IMAGES: images, program.LABELS: labels[positions]},
                fetch_list=[self.program.loss] if show else [],
            )
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
            if self.step < self.steps:
                if stopped():
                    self._interrupt()
                if done - checked >= CHECK_S:
                    self._check_loss()
                    checked = time.perf_counter()
                if done - saved >= 60 * self.settings["train"]["checkpoint_minutes"]:
                    self._save()
                    saved = time.perf_counter()
            clock = time.perf_counter()

    def _finish_epoch(self) -> None:
        clock = time.perf_counter()
        used = self.program.learning_rate()
        self._check_learning_rate(used)
        loss = self._check_loss() / self.steps
        tally = Tally(self.dataset.val[1])
        for images, positions in self.val_loader.epoch():
            tally.add(self.predict(images), positions)
        result = tally.result()
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
            "images": self.steps * self.settings["train"]["batch_size"],
            "img_s": self._images_per_second(),
            "data_time_s": self.times["data"],
            "compute_time_s": self.times["compute"],
        }
        self.history.append(row)
        self.epoch, self.step = self.epoch + 1, 0
        self.times["seconds"] += time.perf_counter() - clock
        last = self.epoch == self.settings["train"]["epochs"]
        if last or time.perf_counter() - self._saved >= self._save_cost / CHECKPOINT_SHARE:
            self._save()
        self._write_metrics()
        log.info(
            "epoch %d/%d: lr %.4g, training loss %.4f, validation loss %.4f, "
            "top-1 %.2f %%, top-5 %.2f %%, %.0f img/s",
            row["epoch"],
            self.settings["train"]["epochs"],
            *(row[k] for k in ("lr", "train_loss", "val_loss", "top1", "top5", "img_s")),
        )

    def _check_loss(self) -> float:
        """The sum of the epoch's losses so far; TwoFourError if one of them was no number."""
        found = weights.read_scope([program.LOSS_SUM, program.FINITE_STEPS])
        total = float(found[program.LOSS_SUM][0])
        if not np.isfinite(total):
            step = int(found[program.FINITE_STEPS][0])  # from 0
            rate = self._learning_rate(self.epoch * self.steps + step)
            raise TwoFourError(
                f"the training loss is {total} from step {step + 1} of epoch {self.epoch + 1} on, "
                f"at learning rate {rate:.4g} and loss scale 1 ({self.precision}); {_REMEDY}"
            )
        return total

    def _check_learning_rate(self, used: float) -> None:
        # A scheduler that the executor no longer reads leaves the rate at 0, silently.
        wanted = self._learning_rate(self.epoch * self.steps + self.steps - 1)
        if not np.isclose(used, wanted, rtol=1e-5, atol=1e-12):
            raise TwoFourError(
                f"the graph used learning rate {used:.6g} where the schedule says {wanted:.6g}; "
                "this is a fault of the program, please report it"
            )

    def _images_per_second(self) -> float:
        busy = self.times["data"] + self.times["compute"]
        return self.step * self.settings["train"]["batch_size"] / busy if busy else 0.0

    def _interrupt(self) -> None:
        self._save()
        self.writer.wait()
        raise Interrupted(
            f"stopped after epoch {self.epoch}, step {self.step} of the next; "
            "saved, so the same command goes on from here"
        )

    # --- results ---

    def _write_metrics(self) -> None:
        with atomic(self.out / "metrics.csv") as temporary:
            pd.DataFrame(self.history, columns=list(METRICS)).to_csv(temporary, index=False)

    def _write_results(self) -> dict:
        state = weights.read_scope(model.state_names(self.network))
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
            "precision": self.precision,
            "threads": self.machine.threads,
            "epochs": self.epoch,
            "steps_per_epoch": self.steps,
            "batch_size": self.settings["train"]["batch_size"],
            "peak_learning_rate": recipe.peak_learning_rate(self.settings["train"]),
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


def _fingerprint(settings: dict, identity: dict, machine, precision: str) -> dict:
    train = {k: v for k, v in settings["train"].items() if k != "checkpoint_minutes"}
    train["precision"] = precision
    used = {k: settings[k] for k in ("seed", "model")}
    pictures = ("image_size", "resize", "crop_area", "crop_ratio", "flip", "mean", "std")
    used["data"] = {k: settings["data"][k] for k in pictures}
    return {
        **used,
        "train": train,
        "hardware": {"device": machine.device, "threads": machine.threads},
        **identity,
    }


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag, to be asked for between steps; a second one kills."""
    received = []

    def note(number, frame):
        received.append(number)
        for name in old:
            signal.signal(name, signal.SIG_DFL)

    old = {name: signal.signal(name, note) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for name, handler in old.items():
            signal.signal(name, handler)
