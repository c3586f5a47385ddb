"""The plots of the report, as SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..artifacts import BUILT, COMPARISON, METRICS, PLOT, PLOTS, SPARSITY
from ..deploy.sparsity_log import sparse_layers
from ..models import COLOURS, DENSE, PRUNED, SPARSE, TRAINING, Model, of_kind
from ..system.files import atomic, read_json
from . import compare
from .compare import Table

HATCHES = ("", "//", "..", "xx")  # tell the branches of several algorithms apart
DASHES = ("o-", "s--", "^:", "d-.")
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "svg.hashsalt": "twofour",  # the same plot gives the same file
    "svg.fonttype": "path",  # looks the same wherever it is opened
}
# {layer: (a sparse kernel could run it, a sparse kernel does run it)}
Kernels = Mapping[str, tuple[bool, bool]]


def draw(results: Path, models: Sequence[Model], cases: Sequence[tuple[str, str]]) -> list[Path]:
    """Draw all plots of the run in folder ``results``; ``cases`` are (backend, precision)."""
    training, accuracy, layers = (results / PLOT.format(name=name) for name in PLOTS)
    histories = {m: pd.read_csv(results / m.name / METRICS) for m in models if m.made == TRAINING}
    draw_training(histories, training)
    draw_models(compare.read(results / COMPARISON, models), accuracy)
    rows = {
        kind: {
            model.branch: read_json(results / model.name / SPARSITY)["layers"]
            for model in of_kind(models, kind)
        }
        for kind in (PRUNED, SPARSE)
    }
    draw_layers(rows[PRUNED], rows[SPARSE], _kernels(results, models, cases, rows[SPARSE]), layers)
    return [training, accuracy, layers]


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
        right.set(xlabel="epoch", ylabel="top-1 (%)", title="Top-1 on the validation images")
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_below(figure, left)
        _save(figure, path)


def draw_models(table: Table, path: Path) -> None:
    """Top-1 of each model, and its throughput in each backend at each batch size."""
    numbers = _branch_numbers(table.models)
    looks = {m.name: {"color": m.colour, "hatch": HATCHES[numbers[m.branch]]} for m in table.models}
    names = list(looks)
    cases = table.frame.groupby(["backend", "precision"], sort=False)
    count = 1 + len(cases)
    wide = count if count <= 4 else 3
    high = -(-count // wide)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.7 * wide, 3.8 * high))
        first, *rest = figure.subplots(high, wide, squeeze=False).ravel()
        accuracy = table.frame.groupby("model", sort=False)["top1"].first()
        for position, name in enumerate(names):
            bar = first.bar(position, accuracy[name], edgecolor="white", **looks[name])
            first.bar_label(bar, fmt="%.1f")
        slanted = {"rotation": 30, "ha": "right", "fontsize": 8} if len(names) > 3 else {}
        first.set_xticks(range(len(names)), names, **slanted)
        first.set(ylabel="top-1 (%)", ylim=(0, 110), title="Accuracy")
        first.grid(axis="x", visible=False)
        for axes, ((backend, precision), rows) in zip(rest, cases):
            _throughput(axes, rows, looks)
            axes.set(title=f"Throughput: {backend} {precision}")
        for axes in rest[len(cases) :]:
            axes.set_visible(False)
        _legend_below(figure, rest[0])
        _save(figure, path)


def _throughput(axes, rows: pd.DataFrame, looks: Mapping[str, Mapping]) -> None:
    step = 0.8 / len(looks)
    sizes = list(dict.fromkeys(rows["batch_size"]))
    for offset, (name, look) in enumerate(looks.items()):
        values = rows[rows["model"] == name].set_index("batch_size")["throughput_img_s"]
        where = np.arange(len(sizes)) + step * (offset - (len(looks) - 1) / 2)
        axes.bar(where, values[sizes], 0.94 * step, label=name, edgecolor="white", **look)
    axes.set_xticks(np.arange(len(sizes)), [str(size) for size in sizes])
    axes.set(xlabel="batch size", ylabel="img/s")
    axes.grid(axis="x", visible=False)


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
        _save(figure, path)


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
    branches = dict.fromkeys(m.branch for m in models if m.kind != DENSE)
    return {"": 0, **{branch: number for number, branch in enumerate(branches)}}


def _legend_below(figure: Figure, axes) -> None:
    """The legend of ``axes``, for the whole figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False
    )


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None})
