"""What a run will buy, told before any training: words, tables and a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts import BUILT, SPARSITY, TRAINING_COST
from ..deploy.sparsity_log import sparse_layers
from ..models import PRUNED, QAT, RIVAL, Model
from ..system import progress
from ..system.files import read_json
from . import compare, display, outcome, template
from .compare import Table
from .outcome import FASTER, Busy, Speed
from .words import busy_words, no_kernels, reach

TEMPLATE = "preview.html.j2"  # beside this module


@dataclass(frozen=True)
class Layer:
    """``could``: 2:4 applies to it; ``would``: builds whose sparse kernels ran it, by name.

    ``asked`` are the builds that say so.
    """

    name: str
    could: bool
    reason: str
    would: Sequence[str]
    asked: Sequence[str]


@dataclass(frozen=True)
class Preview:
    """All that was measured. ``sparse`` and ``rivals`` are against the dense model in a case.

    ``rounded`` are the dense model's ratios in int8 to itself in fp32: (backend, batch size, ratio,
    finding). ``cost`` is what measure_training wrote, ``trainings`` the models to be trained.
    """

    table: Table
    sparse: Sequence[Speed]
    rivals: Sequence[Speed]
    rounded: Sequence[tuple[str, int, float, str]]
    busy: Busy
    layers: Sequence[Layer]
    cost: dict
    trainings: Sequence[Model]


def read(
    folder: Path,
    models: Sequence[Model],
    cases: Sequence[tuple[str, str]],
    batch_sizes: Sequence[int],
    trainings: Sequence[Model],
) -> Preview:
    """What was measured of ``models`` below ``folder``, in ``cases`` of (backend, precision).

    The first is dense, the last pruned.
    """
    rows = []
    for backend, precision in cases:
        named = {"backend": backend, "precision": precision}
        for model, found in compare.speeds(folder, models, f"{backend}-{precision}", batch_sizes):
            rows.append({**dict.fromkeys(compare.COLUMNS, np.nan), "model": model.name, **named})
            rows[-1].update(found)
    frame = pd.DataFrame(rows)[compare.COLUMNS]
    dense, pruned = models[0], models[-1]
    compare.correct(frame, "speedup_p", frame["model"] != dense.name)
    compare.correct(frame, "fp32_speedup_p", frame["model"] == dense.name)
    table = Table(frame, models)
    return Preview(
        table,
        outcome.speeds_of(table, pruned),
        [speed for m in models if m.kind == RIVAL for speed in outcome.speeds_of(table, m)],
        outcome.int8_ratios(table, dense),
        outcome.busy_signs(table),
        _layers(folder, pruned, cases),
        read_json(folder / TRAINING_COST),
        trainings,
    )


def _layers(folder: Path, pruned: Model, cases: Sequence[tuple[str, str]]) -> list[Layer]:
    rows = read_json(folder / pruned.name / SPARSITY)["layers"]
    names = [row["name"].removesuffix(".weight") for row in rows]
    known = {}
    for backend, precision in cases:
        path = folder / BUILT.format(model=pruned.name, case=f"{backend}-{precision}")
        found = sparse_layers(read_json(path), names)
        if found is not None:
            known[f"{backend} {precision}"] = found
    return [
        Layer(
            name,
            row["sparse"],
            row["reason"],
            [case for case, found in known.items() if found[name][1]],
            list(known),
        )
        for name, row in zip(names, rows)
    ]


def verdict(found: Preview) -> list[str]:
    """Sentences, the first of which says whether 2:4 gains anything here."""
    told = [_sparse_words(found)]
    if found.rounded:
        told.append(_rounded_words(found))
    for name in dict.fromkeys(speed.model.name for speed in found.rivals):
        own = [speed.ratio for speed in found.rivals if speed.model.name == name]
        where = "" if len(own) == 1 else ", from case to case"
        told.append(f"{name} runs at {reach(own)} × the dense network's speed{where}.")
    told.append(_training_words(found))
    if found.busy.found:
        told.append(busy_words(found.busy, "preview -R preview_benchmark"))
    return told


def _sparse_words(found: Preview) -> str:
    able = [speed for speed in found.sparse if speed.kernels]
    if not able:
        return (
            f"2:4 sparsity will gain no speed here: {no_kernels(found.sparse)} (backend "
            "tensorrt_sparse)."
        )
    gains = [speed for speed in able if speed.finding == FASTER]
    if not gains:
        return (
            "2:4 sparsity will gain no speed here: with kernels that skip zeros allowed, the "
            f"pruned network runs at {reach([s.ratio for s in able])} × the dense one's speed, no "
            "more than the noise of the measurement."
        )
    best = max(gains, key=lambda speed: speed.ratio)
    return (
        f"2:4 sparsity will gain speed here: up to {best.ratio:.2f} × the dense network's in "
        f"{best.case} at batch {best.batch_size} (95 % interval {best.low:.2f} to "
        f"{best.high:.2f}), and it is faster in {len(gains)} of {len(able)} cases."
    )


def _rounded_words(found: Preview) -> str:
    gains = [row for row in found.rounded if row[3] == FASTER]
    if not gains:
        return "int8 is not faster than fp32 here, beyond the noise of the measurement."
    backend, size, ratio, _ = max(gains, key=lambda row: row[2])
    return (
        f"int8 is up to {ratio:.2f} × as fast as fp32 here ({backend} at batch {size}), and faster "
        f"beyond the noise in {len(gains)} of {len(found.rounded)} cases of backend and batch size."
    )


def _training_words(found: Preview) -> str:
    cost, counted = found.cost, [m for m in found.trainings if m.kind != QAT]
    whole = cost["seconds"] * sum(
        cost["rivals"].get(model.name.removeprefix(model.head), 1.0) for model in counted
    )
    several = ""
    if len(counted) > 1:
        several = f", all {len(counted)} trainings together about {progress.about(whole)}"
    if len(counted) < len(found.trainings):
        several += ", not counting quantisation-aware ones"
    return (
        f"A training of {cost['epochs']} epochs of about {cost['images']:,} images will take about "
        f"{progress.about(cost['seconds'])}{several}, at {cost['img_s']:,.0f} img/s in "
        f"{cost['precision']} on {cost['device_name']}, and {cost['memory_gb']:.1f} GB of memory."
    )


def grid(found: Preview) -> display.Grid:
    """A row for each network, backend, precision and batch size."""
    return display.speed(found.table)


def _layer_rows(found: Preview) -> list[list[str]]:
    rows = []
    for layer in found.layers:
        would = ", ".join(layer.would) or ("no" if layer.asked else "")
        rows.append([layer.name, "yes" if layer.could else "no", would, layer.reason])
    return rows


LEGEND = (
    "pruned: the 2:4 sparse network, with the weights that it will begin with. They are those of "
    "the configuration, or random, and the images are noise: how long kernels take hardly depends "
    "on either. speed-up: img/s over those of the dense network in the same backend, precision and "
    "batch size, measured in turns; noise: the dense network against itself in the same turns; "
    "over dense fp32: img/s over those of the dense network in fp32 in the same turns, which is "
    "steadier than the ratio of two rows; intervals are of 95 %."
)
LAYER_HEADINGS = ("layer", "could be 2:4", "ran on sparse kernels", "reason")


def markdown(found: Preview) -> str:
    """preview.md."""
    layers = display.Grid(LAYER_HEADINGS, _layer_rows(found), [PRUNED] * len(found.layers))
    parts = [
        "# Before any training",
        *verdict(found),
        display.lines(grid(found)),
        LEGEND,
        "## Layers",
        display.lines(layers),
    ]
    return "\n\n".join(parts) + "\n"


def page(found: Preview, run: str) -> str:
    """preview.html, which needs no other file."""
    return template.fill(
        TEMPLATE,
        run=run,
        verdict=verdict(found),
        grid=grid(found),
        left=display.WORDS,
        legend=LEGEND,
        headings=LAYER_HEADINGS,
        layers=_layer_rows(found),
    )


def terminal(found: Preview, path: Path) -> str:
    """preview.txt, what the preview shows at its end."""
    frame = found.table.frame
    best = frame.loc[frame["throughput_img_s"].idxmax()]
    same = (frame["backend"] == best["backend"]) & (frame["batch_size"] == best["batch_size"])
    head = f"{best['backend']} at batch {best['batch_size']}:"
    told = [textwrap.fill(line, display.WIDTH) for line in verdict(found)]
    body = display.plain(found.table, frame[same], display.PREVIEWED)
    return "\n".join(["", *told, "", head, *body, "", f"Everything else: {path}", ""])
