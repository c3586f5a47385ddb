"""Class by class and image by image: where two models differ, and how far they can be trusted."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from ..artifacts import PREDICTIONS
from ..data import lists, members
from ..data.lists import Dataset
from ..deploy import predicted
from ..deploy.predicted import Predictions
from ..models import CONTROL, DENSE, SPARSE, Model, of_kind
from . import statistics

THUMBNAIL = 96  # pixels of the longer side
SHOWN = 12  # images on which two models disagree, and classes that changed most


@dataclass(frozen=True)
class Judged:
    """What the models of a run predicted for its validation images, in one backend."""

    dataset: Dataset
    predictions: dict[str, Predictions]
    base: str  # the model that sparse ones are compared with
    sparse: list[str]

    def right(self, model: str) -> np.ndarray:
        """Whether the first class of ``model`` is the true one, [images] bool."""
        first = self.predictions[model].labels[:, 0]
        return np.asarray(first == self.dataset.val.labels)


def read(results: Path, models: Sequence[Model], case: str) -> Judged:
    """The predictions of the run in folder ``results`` in ``case`` (backend-precision)."""
    dataset = lists.read(results / "dataset")
    found = {
        model.name: predicted.read(
            results / PREDICTIONS.format(model=model.name, case=case), dataset.content
        )
        for model in models
    }
    control = of_kind(models, CONTROL)
    base = control[0].name if control else DENSE
    return Judged(dataset, found, base, [model.name for model in of_kind(models, SPARSE)])


def table(judged: Judged) -> pd.DataFrame:
    """classes.csv: recall with its 95 % interval, precision and F1 of each class, in percent.

    Precision and F1 are empty for a class that a model never names.
    """
    rows = []
    labels, names = judged.dataset.val.labels, judged.dataset.classes
    images = np.bincount(labels, minlength=len(names))
    for model, found in judged.predictions.items():
        first = found.labels[:, 0]
        named = np.bincount(first, minlength=len(names))
        right = np.bincount(labels[first == labels], minlength=len(names))
        for label in np.flatnonzero(images).tolist():
            count, hits = int(images[label]), int(right[label])
            low, high = statistics.wilson(hits, count)
            precision = 100 * hits / named[label] if named[label] else np.nan
            f1 = 200 * hits / (count + named[label]) if named[label] else np.nan
            values = (model, names[label], count, 100 * hits / count, low, high, precision, f1)
            rows.append(values)
    head = ["model", "class", "images", "recall", "recall_low", "recall_high", "precision", "f1"]
    return pd.DataFrame(rows, columns=head)


def confusion(judged: Judged) -> pd.DataFrame:
    """confusion.csv: how many images of each class each model took for which class."""
    labels, names = judged.dataset.val.labels, judged.dataset.classes
    rows = []
    for model, found in judged.predictions.items():
        pairs = labels * len(names) + found.labels[:, 0]
        kinds, counts = np.unique(pairs, return_counts=True)
        for kind, count in zip(kinds.tolist(), counts.tolist()):
            true, named = divmod(kind, len(names))
            rows.append((model, names[true], names[named], count))
    return pd.DataFrame(rows, columns=["model", "class", "predicted", "images"])


@dataclass(frozen=True)
class Change:
    """A class: its ``images``, recall (%) of both models, and the p value, corrected for all."""

    name: str
    images: int
    before: float
    after: float
    p: float

    @property
    def real(self) -> bool:
        """Whether it is more than chance would give, with so many classes to choose from."""
        return self.p < 1 - statistics.CONFIDENCE


def changes(judged: Judged, model: str) -> list[Change]:
    """Every class with images: ``model`` against the one it is compared with, largest change first.

    The p values are McNemar's, corrected by Holm for the number of classes.
    """
    labels, before, after = (
        judged.dataset.val.labels,
        judged.right(judged.base),
        judged.right(model),
    )
    present = np.unique(labels).tolist()
    pairs = [statistics.difference(before[labels == i], after[labels == i]) for i in present]
    corrected = statistics.holm([pair.p for pair in pairs])
    found = [
        Change(
            judged.dataset.classes[label],
            pair.images,
            100 * float(before[labels == label].mean()),
            100 * float(after[labels == label].mean()),
            p,
        )
        for label, pair, p in zip(present, pairs, corrected)
    ]
    return sorted(found, key=lambda c: (-abs(c.after - c.before), c.name))


@dataclass(frozen=True)
class Disagreement:
    """An image that only one of two models has right; ``picture`` is a small JPEG in base64."""

    name: str
    true: str
    before: str
    after: str
    picture: str


def disagreements(judged: Judged, model: str) -> list[Disagreement]:
    """Some images that only ``model`` or only the one it is compared with has right.

    Those that it lost come first, of these the ones of which the other was most sure.
    """
    before, after = judged.right(judged.base), judged.right(model)
    sure = judged.predictions[judged.base].probabilities[:, 0]
    apart = np.flatnonzero(before != after)
    order = apart[np.lexsort((-sure[apart], after[apart]))]
    lost = [i for i in order.tolist() if before[i]][: SHOWN // 2]
    gained = [i for i in order.tolist() if after[i]][: SHOWN - len(lost)]
    val, names = judged.dataset.val, judged.dataset.classes
    found = []
    for i in [*lost, *gained]:
        one, two = (names[int(judged.predictions[m].labels[i, 0])] for m in (judged.base, model))
        picture = thumbnail(val.paths[i], int(val.orientations[i]) != 1)
        found.append(
            Disagreement(Path(val.paths[i]).name, names[int(val.labels[i])], one, two, picture)
        )
    return found


def thumbnail(path: str, turn: bool) -> str:
    """The image as a small JPEG in base64; "" if it is not there any more."""
    try:
        with members.opened(path) as file, Image.open(file) as image:
            shown = (ImageOps.exif_transpose(image) if turn else image).convert("RGB")
            shown.thumbnail((THUMBNAIL, THUMBNAIL))
            content = io.BytesIO()
            shown.save(content, "JPEG", quality=80)
    except (OSError, ValueError):
        return ""
    return base64.b64encode(content.getvalue()).decode()
