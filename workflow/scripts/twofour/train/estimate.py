"""How long a training and the whole run will take, told after the first steps."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass

from ..system.cli import log
from ..system.progress import about

RUN = "TWOFOUR_RUN"  # environment variable: the run's Work as JSON
TOLD_AFTER_S, TOLD_AFTER_STEPS = 3.0, 3
_FORWARD = 1 / 3  # of a step's time: the backward pass takes twice that of the forward pass
_JOB_S = 1.0  # what the start of a job's program costs


@dataclass(frozen=True)
class Work:
    """The jobs of a run: ``dense`` and ``sparse`` trainings, ``passes`` over the validation images.

    ``benchmark_images`` go through networks in benchmarks; ``jobs`` is the number of all. Rivals'
    trainings, which count as dense ones, take ``more`` trainings of the network than their number.
    """

    dense: int
    sparse: int
    passes: int
    benchmark_images: int
    jobs: int
    more: float = 0.0

    def seconds(self, training: float, per_image: float, val_images: int) -> float:
        """The whole run, if a training takes ``training`` seconds.

        ``per_image`` is what one process takes for an image in a step.
        """
        trainings = (self.dense + self.sparse + self.more) * training
        evaluations = self.passes * val_images * per_image * _FORWARD
        starts = self.jobs * _JOB_S
        return trainings + evaluations + self.benchmark_seconds(per_image) + starts

    def benchmark_seconds(self, per_image: float) -> float:
        """The benchmarks' part of it."""
        return self.benchmark_images * per_image * _FORWARD

    def words(self) -> str:
        """The trainings, for a sentence."""
        count = self.dense + self.sparse
        return f"{count} training{'s' if count > 1 else ''}, evaluations and benchmarks"


def announce(work: Work) -> None:
    """Let the trainings of this run know what it consists of."""
    os.environ[RUN] = json.dumps(asdict(work))


def announced() -> Work | None:
    """What :func:`announce` said, or None outside of a run."""
    try:
        return Work(**json.loads(os.environ[RUN]))
    except (KeyError, ValueError, TypeError):
        return None


def training_seconds(
    per_image: float, images: int, val_images: int, epochs: float, done: float = 0.0
) -> float:
    """A training of ``epochs`` passes over ``images``, each validated; ``done`` are over."""
    return (epochs - done) * per_image * (images + _FORWARD * val_images)


def batches(warmup: int, steps: int) -> int:
    """Batches that a benchmark takes: synthetic ones, and as many ``steps`` from files."""
    return warmup + 2 * steps


class Clock:
    """Tells once, after the first steps, how long this training and the whole run will take.

    A step of all ``processes`` has ``step_images``, an epoch ``steps`` of them; ``done`` of all
    steps are over already.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        done: int,
        step_images: int,
        val_images: int,
        sparse: bool,
        processes: int = 1,
    ) -> None:
        self._epochs, self._steps, self._done = epochs, steps, done
        self._images, self._val_images, self._sparse = step_images, val_images, sparse
        self._processes = processes
        self._begun, self._counted, self._told = 0.0, 0, False

    def step(self) -> None:
        """A step is over. The first one is not counted, since much is set up in it."""
        if self._told:
            return
        now = time.perf_counter()
        if not self._begun:
            self._begun = now
            return
        self._counted += 1
        if self._counted >= TOLD_AFTER_STEPS and now - self._begun >= TOLD_AFTER_S:
            self._told = True
            self._tell((now - self._begun) / self._counted / self._images)

    def _tell(self, per_image: float) -> None:
        epoch = self._steps * self._images
        done = (self._done + self._counted + 1) / self._steps
        rest = training_seconds(per_image, epoch, self._val_images, self._epochs, done)
        line = f"about {about(rest)} until this training ends"
        work = announced()
        if work and (not self._sparse or (work.dense, work.sparse) == (0, 1)):  # the first one
            whole = training_seconds(per_image, epoch, self._val_images, self._epochs)
            alone = per_image * self._processes
            total = work.seconds(whole, alone, self._val_images) - whole + rest
            line += f", {about(total)} until the run does ({work.words()})"
        log.info("%s", line)
