"""The plots of the report, as SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, ScalarFormatter

from ..artifacts import BUILT, COMPARISON, METRICS, PLOT, PLOTS, SPARSITY
from ..deploy.sparsity_log import sparse_layers
from ..models import (
    COLOURS,
    DENSE,
    PRUNED,
    SPARSE,
    TRAINING,
    Model,
    in_case,
    of_first_seed,
    of_kind,
)
from ..system.files import read_json
from . import classes, compare, statistics
from .classes import Judged
from .compare import Table
from .style import STYLE, save

HATCHES = ("", "//", "..", "xx")  # tell the branches of several algorithms apart
MARKERS = "os^DvPX*"  # tell cases apart
DASHES = ("o-", "s--", "^:", "d-.")
# {layer: (a sparse kernel could run it, a sparse kernel does run it)}
Kernels = Mapping[str, tuple[bool, bool]]


def draw(results: Path, models: Sequence[Model], cases: Sequence[tuple[str, str]]) -> list[Path]:
    """Draw all plots of the run in folder ``results``; ``cases`` are (backend, precision)."""
    paths = {name: results / PLOT.format(name=name) for name in PLOTS}
    trained = [model for model in of_first_seed(models) if model.made == TRAINING]
    histories = {model: pd.read_csv(results / model.name / METRICS) for model in trained}
    draw_training(histories, paths["training"])
    whole = compare.read(results / COMPARISON, models)
    models = of_first_seed(models)  # of several seeds; the tradeoff has their means
    table = compare.over_seeds(whole)
    draw_tradeoff(table, paths["tradeoff"])
    draw_models(table, paths["models"])
    here = in_case(models, cases[0][1])
    draw_classes(classes.read(results, here, "-".join(cases[0])), here, paths["classes"])
    rows = {
        kind: {
            model.branch: read_json(results / model.name / SPARSITY)["layers"]
            for model in of_kind(models, kind)
        }
        for kind in (PRUNED, SPARSE)
    }
    kernels = _kernels(results, models, cases, rows[SPARSE])
    draw_layers(rows[PRUNED], rows[SPARSE], kernels, paths["layers"])
    return list(paths.values())


def _kernels(
    results: Path,
    models: Sequence[Model],
    cases: Sequence[tuple[str, str]],
    sparse: Mapping[str, list[dict]],
) -> dict[str, Kernels]:
    """Which layers could use and do use sparse kernels, in each build that says so."""
    known = layer_names(next(iter(sparse.values())))
    result: dict[str, Kernels] = {}
    for backend, precision in cases:
        for model in of_kind(models, SPARSE):
            path = BUILT.format(model=model.name, case=f"{backend}-{precision}")
            kernels = sparse_layers(read_json(results / path), known)
            if kernels is not None:
                result[f"{model.name} {precision}"] = kernels
    return result


def layer_names(rows: Sequence[Mapping]) -> list[str]:
    """Names of layers, from the rows of a sparsity.json."""
    return [row["name"].replace(".weight", "") for row in rows]


def draw_training(histories: Mapping[Model, pd.DataFrame], path: Path) -> None:
    """Loss and top-1 over the epochs of the trainings (model → metrics.csv)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.6))
        left, right = figure.subplots(1, 2)
        numbers = _branch_numbers(histories)
        for model, history in histories.items():
            name, colour, epochs = model.name, model.colour, history["epoch"]
            style = DASHES[numbers[model.branch]]
            left.plot(
                epochs, history["train_loss"], color=colour, alpha=0.5, label=f"{name}, training"
            )
            left.plot(
                epochs, history["val_loss"], style, ms=3, color=colour, label=f"{name}, validation"
            )
            right.plot(epochs, history["top1"], style, ms=3, color=colour, label=name)
        left.set(xlabel="epoch", ylabel="loss (nats)", yscale="log", title="Loss")
        left.yaxis.set_major_formatter(ScalarFormatter())
        left.yaxis.set_minor_formatter(FuncFormatter(_leading))
        right.set(xlabel="epoch", ylabel="top-1 (%)", title="Top-1 on the validation images")
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_below(figure, left)
        save(figure, path)


def _leading(value: float, position: int) -> str:
    """A label for every other of the lines between powers of ten, in plain digits."""
    digit = float(f"{value:e}".partition("e")[0])
    return f"{value:g}" if round(digit) in (2, 3, 5) else ""


def draw_tradeoff(table: Table, path: Path) -> None:
    """Top-1 with its interval against throughput: a point for each model in each case."""
    looks = {model.name: model.colour for model in table.models}
    best = table.frame.loc[
        table.frame.groupby(["model", "backend", "precision"], sort=False)[
            "throughput_img_s"
        ].idxmax()
    ]
    shown = best[~best["model"].isin(m.name for m in of_kind(table.models, PRUNED))]
    cases = list(dict.fromkeys(zip(shown["backend"], shown["precision"])))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 4.2))
        axes = figure.subplots()
        front = _front(shown)
        axes.plot(front["throughput_img_s"], front["top1"], "--", color="#777777", lw=1, zorder=1)
        for _, row in shown.iterrows():
            reach = [[row["top1"] - row["top1_low"]], [row["top1_high"] - row["top1"]]]
            if pd.isna(row["top1_low"]):  # of several seeds
                reach = [[row["top1_sd"]], [row["top1_sd"]]]
            axes.errorbar(
                row["throughput_img_s"],
                row["top1"],
                yerr=reach,
                fmt=MARKERS[cases.index((row["backend"], row["precision"])) % len(MARKERS)],
                color=looks[row["model"]],
                capsize=3,
                ms=7,
                alpha=0.85,
            )
        handles = [
            *(Rectangle((0, 0), 1, 1, color=looks[name]) for name in dict.fromkeys(shown["model"])),
            *(
                Line2D([], [], ls="", marker=MARKERS[i % len(MARKERS)], color="#555555", ms=7)
                for i in range(len(cases))
            ),
        ]
        labels = [*dict.fromkeys(shown["model"]), *(" ".join(case) for case in cases)]
        axes.set(xlabel="throughput (img/s)", ylabel="top-1 (%)")
        axes.set_xlim(left=0)
        figure.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False
        )
        save(figure, path)


def _front(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of ``rows`` that no other surpasses in both throughput and top-1, by throughput."""
    ordered = rows.sort_values(["throughput_img_s", "top1"], ascending=False)
    kept = ordered[ordered["top1"] > ordered["top1"].cummax().shift(fill_value=-1)]
    return kept.sort_values("throughput_img_s")


def draw_models(table: Table, path: Path) -> None:
    """Throughput of each model in each backend at each batch size."""
    numbers = _branch_numbers(table.models)
    looks = {m.name: {"color": m.colour, "hatch": HATCHES[numbers[m.branch]]} for m in table.models}
    cases = table.frame.groupby(["backend", "precision"], sort=False)
    wide = min(len(cases), 3)
    high = -(-len(cases) // wide)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5, 3.7 * wide), 3.6 * high))
        places = figure.subplots(high, wide, squeeze=False).ravel()
        for axes, ((backend, precision), rows) in zip(places, cases):
            _throughput(axes, rows, looks)
            axes.set(title=f"{backend} {precision}")
        for axes in places[len(cases) :]:
            axes.set_visible(False)
        _legend_below(figure, places[0])
        save(figure, path)


def _throughput(axes, rows: pd.DataFrame, looks: Mapping[str, Mapping]) -> None:
    looks = {name: look for name, look in looks.items() if name in set(rows["model"])}
    step = 0.8 / len(looks)
    sizes = list(dict.fromkeys(rows["batch_size"]))
    for offset, (name, look) in enumerate(looks.items()):
        mine = rows[rows["model"] == name].set_index("batch_size").loc[sizes]
        where = np.arange(len(sizes)) + step * (offset - (len(looks) - 1) / 2)
        rates = mine["throughput_img_s"].to_numpy()
        # The interval is of the ratio to the dense model, so it is drawn around this bar.
        low, high = (
            np.abs(rates * (mine[key] / mine["speedup"] - 1).to_numpy())
            for key in ("speedup_low", "speedup_high")
        )
        axes.bar(
            where,
            rates,
            0.94 * step,
            label=name,
            edgecolor="white",
            yerr=None if name == DENSE else (low, high),
            error_kw={"lw": 1, "ecolor": "#222222"},
            **look,
        )
    axes.set_xticks(np.arange(len(sizes)), [str(size) for size in sizes])
    axes.set(xlabel="batch size", ylabel="img/s")
    axes.grid(axis="x", visible=False)


def draw_classes(judged: Judged, models: Sequence[Model], path: Path) -> None:
    """How well calibrated the models are, and the classes whose recall changed most."""
    looks = {model.name: model.colour for model in models}
    shown = list(dict.fromkeys([DENSE, judged.base, *judged.sparse]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4))
        left, right = figure.subplots(1, 2)
        left.plot([0, 100], [0, 100], color="#777777", lw=0.8)
        for name in shown:
            sure, hit = judged.predictions[name].probabilities[:, 0], judged.right(name)
            bins = statistics.reliability(sure, hit)
            error = statistics.expected_calibration_error(sure, hit)
            points = [(100 * mean, 100 * share) for _, _, mean, share in bins]
            label = f"{name} (ECE {error:.1f})"
            left.plot(*zip(*points), "o-", ms=3, lw=1, color=looks[name], label=label)
        left.set(
            xlabel="probability of the first class (%)",
            ylabel="of these images right (%)",
            title="Calibration",
        )
        left.legend(frameon=False, fontsize=8)
        _class_changes(right, judged, looks)
        save(figure, path)


def _class_changes(axes, judged: Judged, looks: Mapping[str, str]) -> None:
    model = judged.sparse[0]
    found = [c for c in classes.changes(judged, model) if c.before != c.after][: classes.SHOWN]
    for place, change in enumerate(reversed(found)):
        axes.plot([change.before, change.after], [place, place], color="#999999", lw=1, zorder=1)
        axes.plot(change.before, place, "o", mfc="white", color=looks[judged.base], ms=6)
        fill = looks[model] if change.real else "white"
        axes.plot(change.after, place, "o", mfc=fill, color=looks[model], ms=6)
    axes.set_yticks(range(len(found)), [_short(c.name) for c in reversed(found)], fontsize=8)
    axes.set(xlabel="recall (%)", title=f"{judged.base} → {model}, classes that changed most")
    if not found:
        axes.text(0.5, 0.5, "no class changed", transform=axes.transAxes, ha="center")


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def draw_layers(
    pruned: Mapping[str, list[dict]],
    sparse: Mapping[str, list[dict]],
    kernels: Mapping[str, Kernels],
    path: Path,
) -> None:
    """Layer by layer: what pruning kept, how dense the result is, and which kernels run it.

    ``pruned`` and ``sparse`` map each branch to the rows of its sparsity.json; ``kernels`` maps a
    deployed model to what :func:`twofour.deploy.sparsity_log.sparse_layers` says of it.
    """
    names = layer_names(next(iter(sparse.values())))
    heights = [1.2, 1.0, *([0.25 + 0.22 * len(kernels)] if kernels else [])]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 2.4 * sum(heights) + 1))
        grid = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        top, middle, *bottom = grid[:, 0]
        _kept_magnitude(top, pruned)
        _density(middle, sparse)
        if bottom:
            _kernel_bars(bottom[0], kernels, names)
        step = max(1, len(names) // 60)
        last = grid[-1, 0]
        last.set_xticks(range(0, len(names), step), names[::step], rotation=90, fontsize=7)
        last.set_xlim(-0.7, len(names) - 0.3)
        for axes in grid[:, 0]:
            axes.grid(axis="x", visible=False)
        save(figure, path)


def _kept_magnitude(axes, pruned: Mapping[str, list[dict]]) -> None:
    for number, (branch, rows) in enumerate(pruned.items()):
        where = [i for i, row in enumerate(rows) if row["sparse"]]
        name = branch or "kept"
        for key, label, colour in (
            ("kept_magnitude", name, COLOURS[SPARSE]),
            ("kept_magnitude_unpermuted", f"{name}, channels not permuted", COLOURS[PRUNED]),
        ):
            if where and key in rows[where[0]]:
                values = [100 * rows[i][key] for i in where]
                style = DASHES[number]
                axes.plot(where, values, style, color=colour, ms=4, lw=0.8, label=label)
    axes.set(ylabel="kept magnitude (%)", title="Magnitude that pruning kept, before retraining")
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _density(axes, sparse: Mapping[str, list[dict]]) -> None:
    wide = 0.8 / len(sparse)
    for number, rows in enumerate(sparse.values()):
        for i, row in enumerate(rows):
            kind = SPARSE if row["sparse"] else DENSE if row["eligible"] else PRUNED
            where = i + wide * (number - (len(sparse) - 1) / 2)
            axes.bar(where, row["density"], wide, color=COLOURS[kind], hatch=HATCHES[number])
    axes.axhline(0.5, color="black", lw=0.8, ls=":")
    axes.set(ylabel="density", ylim=(0, 1.3), title="Density of the retrained sparse model")
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[k]) for k in (SPARSE, DENSE, PRUNED)]
    labels = ["2:4 sparse", "left dense", "2:4 not possible"]
    axes.legend(handles, labels, loc="upper center", ncols=3, frameon=False, fontsize=8)


def _kernel_bars(axes, kernels: Mapping[str, Kernels], names: list[str]) -> None:
    shades = ("#EEEEEE", "#F3C6A5", COLOURS[SPARSE])
    for row, known in enumerate(kernels.values()):
        for i, layer in enumerate(names):
            eligible, picked = known.get(layer, (False, False))
            axes.bar(i, 0.9, 0.9, bottom=row, color=shades[eligible + picked])
    axes.set_yticks(np.arange(len(kernels)) + 0.45, list(kernels), fontsize=8)
    axes.set(title="Sparse kernels in TensorRT")
    handles = [Rectangle((0, 0), 1, 1, color=shade) for shade in shades]
    labels = ["no sparse kernel fits", "fits, but a dense one is faster", "runs on a sparse kernel"]
    axes.legend(
        handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.15), ncols=3, fontsize=8
    )


def _branch_numbers(models) -> dict[str, int]:
    """A number for each branch, in the order of ``models``; the dense model counts as the first."""
    branches = dict.fromkeys(m.branch for m in models if m.kind in (PRUNED, SPARSE))
    return {"": 0, **{branch: number for number, branch in enumerate(branches)}}


def _legend_below(figure: Figure, axes) -> None:
    """The legend of ``axes``, for the whole figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False
    )
