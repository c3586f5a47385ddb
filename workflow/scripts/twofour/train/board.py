"""The rows of metrics.csv as event files for TensorBoard, as training goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Column of metrics.csv: name in TensorBoard, where a slash makes groups.
SCALARS = {
    "lr": "training/learning_rate",
    "train_loss": "training/loss",
    "img_s": "training/img_s",
    "val_loss": "validation/loss",
    "top1": "validation/top1",
    "top5": "validation/top5",
}


class Board:
    """Event files in ``folder``, of a training whose epochs so far are in ``history``."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import SummaryWriter

        known = list(folder.glob("events.out.tfevents.*"))
        if not history:  # those of another training
            for old in known:
                old.unlink()
        # Epochs after the last checkpoint come again, and replace those in the older file.
        self._writer = SummaryWriter(str(folder), purge_step=len(history) + 1)
        for row in history if not known else ():
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write an epoch's row of metrics.csv, so that it can be seen at once."""
        for column, name in SCALARS.items():
            self._writer.add_scalar(name, row[column], row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
