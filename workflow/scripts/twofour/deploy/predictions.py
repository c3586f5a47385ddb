"""Predictions as a table for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import require_writable

FORMATS = ("table", "csv", "json")
COLUMNS = ("image", "rank", "class", "label", "probability")


def ranked(probabilities: np.ndarray, top: int) -> np.ndarray:
    """Labels [n, top] of the most probable classes, the lower one first where two are equal."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :top]


def rows(
    paths: Sequence[str], probabilities: np.ndarray, classes: Sequence[str], top: int
) -> list[dict[str, Any]]:
    """A row for each of the ``paths`` [n] and its ``top`` classes, by probability [n, classes]."""
    found = []
    for path, row, labels in zip(paths, probabilities, ranked(probabilities, top)):
        for rank, label in enumerate(labels.tolist(), start=1):
            values = (path, rank, classes[label], label, round(float(row[label]), 6))
            found.append(dict(zip(COLUMNS, values)))
    return found


def text(found: Sequence[dict[str, Any]], form: str) -> str:
    """``found`` in one of FORMATS."""
    if form == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
        return out.getvalue()
    if form == "json":
        return json.dumps(_nested(found), indent=2, ensure_ascii=False) + "\n"
    return _table(found)


def _nested(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = []
    for row in found:
        if row["rank"] == 1:
            images.append({"image": row["image"], "predictions": []})
        kept = {key: row[key] for key in ("class", "label", "probability")}
        images[-1]["predictions"].append(kept)
    return images


def _table(found: Sequence[dict[str, Any]]) -> str:
    """An image's name on a line of its own, and its classes below."""
    lines = []
    for row in found:
        if row["rank"] == 1:
            lines.append(str(row["image"]))
        lines.append(f"  {100 * row['probability']:6.2f} %  {row['class']}")
    return "".join(f"{line}\n" for line in lines)


def format_of(path: str | None, option: str, wanted: str | None = None) -> str:
    """The format that was ``wanted``, or that of a file's ending, or a table without a file.

    Raises TwoFourError if the ending of the file that ``option`` names is of no format, or it
    cannot be written.
    """
    if path is None:
        return wanted or "table"
    require_writable(path)
    ending = Path(path).suffix.lower().removeprefix(".")
    if wanted is None and ending not in FORMATS[1:]:
        raise TwoFourError(
            f"{option}: {path} must end in {' or '.join(f'.{f}' for f in FORMATS[1:])}"
        )
    return wanted or ending
