"""What a training displays: a progress bar on a terminal, and a line for each epoch."""

from __future__ import annotations

import time
from typing import Any

from ..system import progress
from ..system.cli import log
from . import estimate

REFRESH_S = 0.25  # how often the bar asks for the loss, which makes the step wait


class Display:
    """The progress of a training of ``epochs`` × ``steps`` steps, of which ``done`` are done.

    ``clock`` estimates how long the rest takes.
    """

    def __init__(
        self, epochs: int, steps: int, done: int, leads: bool, clock: estimate.Clock | None = None
    ) -> None:
        self._epochs, self._leads, self._clock = epochs, leads, clock
        self._bar = progress.bar(epochs * steps, "training", "step", done)
        self._shown = time.perf_counter()

    def __enter__(self) -> Display:
        self._bar.__enter__()
        return self

    def __exit__(self, *cause) -> None:
        self._bar.__exit__(*cause)

    def begin_epoch(self, epoch: int) -> None:
        """Show ``epoch`` (from 0) in the bar."""
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}")
        self._shown = time.perf_counter()

    def wants_loss(self) -> bool:
        """Whether the next step should fetch its loss, to be shown."""
        return not self._bar.disable and time.perf_counter() - self._shown >= REFRESH_S

    def step(self, loss: float | None, images_per_second: float) -> None:
        """Advance the bar by a step."""
        if loss is not None:
            self._shown = time.perf_counter()
            self._bar.set_postfix_str(f"loss {loss:.3f}, {images_per_second:.0f} img/s")
        self._bar.update()
        if self._clock and self._leads:
            self._clock.step()

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Log the epoch's ``row`` as a line."""
        if self._leads:
            log.info(
                "epoch %d/%d: loss %.4f, validation loss %.4f, top-1 %.2f %%, %.0f img/s",
                row["epoch"],
                self._epochs,
                *(row[k] for k in ("train_loss", "val_loss", "top1", "img_s")),
            )
