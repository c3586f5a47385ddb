"""Several runs side by side: their tables, what of their configurations differs, image by image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts import COMPARISON, MODELS, PROVENANCE, REFERENCE
from ..data import lists
from ..deploy import reference
from ..models import read as read_models
from ..system.errors import TwoFourError
from ..system.files import read_json
from . import compare, statistics, template
from .compare import Table

TEMPLATE = "runs.html.j2"  # beside this module
MISSING = "–"  # where a run has no such key


@dataclass(frozen=True)
class Run:
    """A finished run in ``folder``; ``name`` tells it from the others of a comparison."""

    name: str
    folder: Path
    table: Table
    config: dict[str, Any]


def read(folders: Sequence[Path], defaults: Mapping[str, Any]) -> list[Run]:
    """The runs in ``folders``; TwoFourError if one of them is not finished, or named twice.

    Keys that a run of an earlier version lacks have the ``defaults``, which change nothing.
    """
    names = _names(folders)
    runs = []
    for name, folder in zip(names, folders):
        if not (folder / COMPARISON).is_file():
            what = "has no " + COMPARISON if folder.is_dir() else "is no folder"
            raise TwoFourError(
                f"{folder} {what}; name folders of finished runs, such as results/demo"
            )
        table = compare.read(folder / COMPARISON, read_models(folder / MODELS))
        if table.frame.empty:
            raise TwoFourError(f"{folder / COMPARISON} has no rows; make it again with make run")
        known = read_json(folder / PROVENANCE)
        if not isinstance(known, dict) or not isinstance(known.get("config"), dict):
            raise TwoFourError(
                f"{folder / PROVENANCE} holds no configuration; make it again with make run"
            )
        runs.append(Run(name, folder, table, _filled(known["config"], defaults)))
    return runs


def _filled(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with the ``defaults`` of what it lacks, in their order."""
    filled = {**defaults, **config}
    for name, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(config.get(name), Mapping):
            filled[name] = {**value, **config[name]}
    return filled


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    if len(folders) < 2:
        raise TwoFourError("name at least two runs to compare, such as results/a results/b")
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise TwoFourError("the same run is named twice")
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return ["/".join(p[-depth:]) for p in parts]


def joined(runs: Sequence[Run]) -> pd.DataFrame:
    """All rows of all runs, with a column ``run`` before those of comparison.csv."""
    frames = [run.table.frame.assign(run=run.name) for run in runs]
    whole = pd.concat(frames, ignore_index=True)
    return whole[["run", *(name for name in whole.columns if name != "run")]]


def brief(runs: Sequence[Run]) -> pd.DataFrame:
    """Of :func:`joined` the rows of one batch size: the largest that all runs have measured."""
    whole = joined(runs)
    sizes = [set(run.table.frame["batch_size"].dropna()) for run in runs]
    common = set.intersection(*sizes)
    if common:
        return whole[whole["batch_size"] == max(common)]
    largest = {run.name: max(own) for run, own in zip(runs, sizes)}
    return whole[whole["batch_size"] == whole["run"].map(largest)]


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """(key, its value in each run) of all keys of the configurations that are not alike."""
    flat = [dict(_flat(run.config)) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    found = []
    for key in keys:
        values = [_shown(config[key]) if key in config else MISSING for config in flat]
        if key != "run" and len(set(values)) > 1:
            found.append((key, values))
    return found


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Paired:
    """The same model of two runs on the validation images that both have.

    ``both``, ``first`` and ``second`` count the images that both, or only one of them, has right;
    ``p`` is the exact mid-p value of McNemar's test, that they are equally good.
    """

    model: str
    runs: tuple[str, str]
    images: int
    both: int
    first: int
    second: int
    p: float

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        (a, b), count = self.runs, self.images
        if self.first == self.second == 0:
            return f"{self.model}: {a} and {b} have the same {self.both} of {count} images right."
        points = 100 * (self.second - self.first) / count
        found = (
            f"{self.model}: of {count} images that both were validated on, only {a} has "
            f"{self.first} right and only {b} {self.second}, {points:+.2f} points for {b}"
        )
        if self.p < 0.05:
            return f"{found} (p = {self.p:.2g})."
        return f"{found}, which may be chance (p = {self.p:.2g})."


def paired(runs: Sequence[Run]) -> list[Paired]:
    """The first run against each other one, for every model that both have, by common images.

    Images are the same if their pixels are, whatever list they are in.
    """
    found = []
    base, *others = [_judged(run) for run in runs]
    for other, judged in zip(runs[1:], others):
        for model, first in base.items():
            if model not in judged:
                continue
            common = sorted(first.keys() & judged[model].keys())
            if not common:
                continue
            a, b = (np.array([known[key] for key in common]) for known in (first, judged[model]))
            both, one, two = (int(n) for n in ((a & b).sum(), (a & ~b).sum(), (~a & b).sum()))
            pair, count = (runs[0].name, other.name), len(common)
            found.append(Paired(model, pair, count, both, one, two, statistics.mid_p(one, two)))
    return found


def _judged(run: Run) -> dict[str, dict[tuple[bytes, str], bool]]:
    """{model: {(the image's pixels, its class): whether the training graph has it right}}."""
    folder = run.folder / "dataset"
    dataset, content = lists.read(folder), lists.digests(folder)["val"]
    names = [dataset.classes[label] for label in dataset.val.labels.tolist()]
    keys = [(digest.tobytes(), name) for digest, name in zip(content, names)]
    found = {}
    for model in run.table.models:
        path = run.folder / REFERENCE.format(model=model.name)
        probabilities = reference.read(path, dataset.content)
        if len(probabilities) != len(keys):
            raise TwoFourError(f"{path} is not of the images in {folder}; make it again")
        right = probabilities.argmax(axis=1) == dataset.val.labels
        found[model.name] = dict(zip(keys, right.tolist()))
    return found


def machines(runs: Sequence[Run]) -> list[str]:
    """A sentence if the runs were measured on different machines."""
    devices = {run.name: ", ".join(sorted(set(run.table.frame["device"].dropna()))) for run in runs}
    if len(set(devices.values())) == 1:
        return []
    told = "; ".join(f"{name} on {device}" for name, device in devices.items())
    return [f"Speeds were measured on different machines: {told}."]


# --- for display ---

_COLUMNS = {
    "run": ("run", "{}"),
    "model": ("model", "{}"),
    "backend": ("backend", "{}"),
    "precision": ("precision", "{}"),
    "batch_size": ("batch", "{}"),
    "top1": ("top-1 %", "{:.2f}"),
    "top1_drop": ("drop", "{:.2f}"),
    "throughput_img_s": ("img/s", "{:.0f}"),
    "speedup": ("speed-up", "{:.2f}"),
    "size_mb": ("MB", "{:.2f}"),
}
_WORDS = 4  # columns of words, which are aligned to the left


def headings() -> list[str]:
    """Headings of the table for display."""
    return [heading for heading, _ in _COLUMNS.values()]


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """The rows of the table for display."""
    return [
        ["" if pd.isna(row[key]) else form.format(row[key]) for key, (_, form) in _COLUMNS.items()]
        for _, row in frame.iterrows()
    ]


def text(runs: Sequence[Run]) -> str:
    """The comparison for a terminal."""
    lines = [headings(), *cells(brief(runs))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    body = [
        "  ".join(
            cell.ljust(width) if i < _WORDS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    changed = [
        f"  {key}: {', '.join(f'{run.name} {value}' for run, value in zip(runs, values))}"
        for key, values in differences(runs)
    ]
    told = [*machines(runs), *(pair.sentence for pair in paired(runs))]
    head = ["", "The configurations differ in:", *changed] if changed else []
    return "\n".join(
        [*body, *head, "", *(told or ["They share no validation image of the same class."])]
    )


def page(runs: Sequence[Run]) -> str:
    """The comparison as an HTML page that needs no other file."""
    return template.fill(
        TEMPLATE,
        runs=runs,
        headings=headings(),
        rows=cells(joined(runs)),
        words=_WORDS,
        differences=differences(runs),
        sentences=[*machines(runs), *(pair.sentence for pair in paired(runs))],
    )
