"""A finished model on other labelled images: the figures, in total and by class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import SEEN
from ..data.lists import Split
from ..train import seen
from ..train.metrics import Tally
from .predictions import ranked

SHOWN = 20  # classes in the table; the JSON file has all


def evaluate(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], images: Split, classes: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """The figures, and the probabilities [n, classes] of the ``images`` [n].

    ``batches`` are probabilities and positions. top1, top5 (percent), images, loss (nats) and, for
    each class that has images, how many of them and how many of these were named first. Raises
    TwoFourError unless each image came once.
    """
    tally = Tally(images.labels)
    probabilities = np.full((len(images.paths), len(classes)), np.nan, np.float32)
    for found, positions in batches:
        tally.add(found, positions)
        probabilities[positions] = found
    result = tally.result()
    right = ranked(probabilities, 1)[:, 0] == images.labels
    by_class = {
        classes[label]: {
            "images": int((images.labels == label).sum()),
            "correct": int(right[images.labels == label].sum()),
        }
        for label in np.unique(images.labels).tolist()
    }
    return {**result, "per_class": by_class}, probabilities


def known(folder: Path, digests: Sequence[bytes]) -> int | None:
    """How many of the images the network was trained on; None if there is no record of it.

    The record lies in the run whose deploy/<model> or release/<model> is ``folder``.
    """
    parts = folder.resolve().parts
    places = [at for at, part in enumerate(parts) if part in ("deploy", "release")]
    records = [Path(*parts[:at], *parts[at + 1 :], SEEN) for at in reversed(places)]
    record = next((path for path in records if path.is_file()), None)
    if record is None:
        return None
    ours = np.frombuffer(b"".join(digests), dtype="V16")
    return seen.count(ours, seen.by(str(record)))


def table(summary: dict[str, Any]) -> str:
    """The figures for the screen."""
    lines = [
        f"top-1 {summary['top1']:.2f} %, top-5 {summary['top5']:.2f} %, loss "
        f"{summary['loss']:.4f}, of {summary['images']} images",
        f"({summary['model']} in {summary['backend']} {summary['precision']})",
    ]
    by_class = list(summary["per_class"].items())
    width = max(len(name) for name, _ in by_class[:SHOWN])
    lines += [
        f"  {name:{width}}  {100 * counts['correct'] / counts['images']:6.2f} % of "
        f"{counts['images']}"
        for name, counts in by_class[:SHOWN]
    ]
    if len(by_class) > SHOWN:
        lines.append(f"  and {len(by_class) - SHOWN} more classes")
    return "\n".join(lines)


def warnings(summary: dict[str, Any]) -> list[str]:
    """What the reader of the figures must know."""
    found, rejected = [], summary["rejected"]
    if rejected:
        first = rejected[0]
        found.append(
            f"{len(rejected)} files cannot be read and do not count; the first is "
            f"{first['path']}: {first['reason']}"
        )
    if summary["training_images"]:
        found.append(
            f"the network was trained on {summary['training_images']} of these images, so the "
            "accuracy is too high"
        )
    return found
