"""The pictures of the report, as SVG files."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import names
from .files import atomic
from .names import DENSE, PRUNED, SPARSE

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
COLOURS = {DENSE: "#0072B2", PRUNED: "#999999", SPARSE: "#D55E00"}
HATCHES = ("", "//", "..", "xx")  # tell the branches of several algorithms apart
DASHES = ("o-", "s--", "^:", "d-.")

plt.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "font.size": 10,
        "svg.hashsalt": "twofour",  # the same picture gives the same file
        "svg.fonttype": "path",  # looks the same wherever it is opened
    }
)


def training(histories: dict[str, pd.DataFrame], path: Path) -> None:
    """Loss and top-1 over the epochs of the trainings (name → metrics.csv)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    numbers = _branch_numbers(histories)
    for name, history in histories.items():
        colour, epochs = COLOURS[names.kind(name)], history["epoch"]
        style = DASHES[numbers[names.branch(name)]]
        left.plot(epochs, history["train_loss"], color=colour, alpha=0.5, label=f"{name}, training")
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


def accuracy_and_throughput(table: pd.DataFrame, path: Path) -> None:
    """Top-1 of each model, and its throughput in each backend at each batch size."""
    models = list(dict.fromkeys(table["model"]))
    numbers = _branch_numbers(models)
    looks = {
        m: {"color": COLOURS[names.kind(m)], "hatch": HATCHES[numbers[names.branch(m)]]}
        for m in models
    }
    cases = table.groupby(["backend", "precision"], sort=False)
    wide = min(3, 1 + len(cases))
    high = -(-(1 + len(cases)) // wide)
    figure, grid = plt.subplots(high, wide, figsize=(3.7 * wide, 3.8 * high), squeeze=False)
    first, *places = grid.ravel()
    accuracy = table.groupby("model", sort=False)["top1"].first()
    for position, model in enumerate(models):
        bar = first.bar(position, accuracy[model], edgecolor="white", **looks[model])
        first.bar_label(bar, fmt="%.1f")
    slanted = {"rotation": 30, "ha": "right", "fontsize": 8} if len(models) > 3 else {}
    first.set_xticks(range(len(models)), models, **slanted)
    first.set(ylabel="top-1 (%)", ylim=(0, 110), title="Accuracy")
    first.grid(axis="x", visible=False)
    step = 0.8 / len(models)
    for place, ((backend, precision), rows) in zip(places, cases):
        sizes = list(dict.fromkeys(rows["batch_size"]))
        for offset, model in enumerate(models):
            values = rows[rows["model"] == model].set_index("batch_size")["throughput_img_s"]
            where = np.arange(len(sizes)) + step * (offset - (len(models) - 1) / 2)
            place.bar(
                where, values[sizes], 0.94 * step, label=model, edgecolor="white", **looks[model]
            )
        place.set_xticks(np.arange(len(sizes)), [str(size) for size in sizes])
        place.set(xlabel="batch size", ylabel="img/s", title=f"Throughput: {backend} {precision}")
        place.grid(axis="x", visible=False)
    for place in places[len(cases) :]:
        place.set_visible(False)
    _legend_below(figure, places[0])
    _save(figure, path)


def layers(
    pruned: dict[str, list[dict]],
    sparse: dict[str, list[dict]],
    kernels: dict[str, dict[str, tuple[bool, bool]]],
    path: Path,
) -> None:
    """Layer by layer: what pruning kept, how dense the result is, and which kernels run it.

    ``pruned`` and ``sparse`` map each branch to the rows of its sparsity.json; ``kernels`` maps a
    deployed model to {layer: (eligible for sparse kernels, runs on one)}, see
    :func:`twofour.deploy.sparse_layers`.
    """
    rows = next(iter(sparse.values()))
    known = [row["name"].replace(".weight", "") for row in rows]
    heights = [1.2, 1.0, *([0.25 + 0.22 * len(kernels)] if kernels else [])]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(10, 2.4 * sum(heights) + 1),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    top, middle, *bottom = axes[:, 0]
    _kept_magnitude(top, pruned)
    _density(middle, sparse)
    if bottom:
        _kernels(bottom[0], kernels, known)
    step = max(1, len(known) // 60)
    last = axes[-1, 0]
    last.set_xticks(range(0, len(known), step), known[::step], rotation=90, fontsize=7)
    last.set_xlim(-0.7, len(known) - 0.3)
    for place in axes[:, 0]:
        place.grid(axis="x", visible=False)
    _save(figure, path)


def _kept_magnitude(axes, pruned: dict[str, list[dict]]) -> None:
    for number, (branch, rows) in enumerate(pruned.items()):
        where = [i for i, row in enumerate(rows) if row["sparse"]]
        name = branch[1:] or "kept"
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


def _density(axes, sparse: dict[str, list[dict]]) -> None:
    wide = 0.8 / len(sparse)
    for number, rows in enumerate(sparse.values()):
        for i, row in enumerate(rows):
            kind = SPARSE if row["sparse"] else DENSE if row["eligible"] else PRUNED
            place = i + wide * (number - (len(sparse) - 1) / 2)
            axes.bar(place, row["density"], wide, color=COLOURS[kind], hatch=HATCHES[number])
    axes.axhline(0.5, color="black", lw=0.8, ls=":")
    axes.set(ylabel="density", ylim=(0, 1.3), title="Density of the retrained sparse model")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[k]) for k in (SPARSE, DENSE, PRUNED)]
    labels = ["2:4 sparse", "left dense", "2:4 not possible"]
    axes.legend(handles, labels, loc="upper center", ncols=3, frameon=False, fontsize=8)


def _kernels(axes, kernels: dict[str, dict[str, tuple[bool, bool]]], known: list[str]) -> None:
    shades = ("#EEEEEE", "#F3C6A5", COLOURS[SPARSE])
    for row, found in enumerate(kernels.values()):
        for i, layer in enumerate(known):
            eligible, picked = found.get(layer, (False, False))
            axes.bar(i, 0.9, 0.9, bottom=row, color=shades[eligible + picked])
    axes.set_yticks(np.arange(len(kernels)) + 0.45, list(kernels), fontsize=8)
    axes.set(title="Sparse kernels in TensorRT")
    handles = [plt.Rectangle((0, 0), 1, 1, color=shade) for shade in shades]
    labels = ["no sparse kernel fits", "fits, but a dense one is faster", "runs on a sparse kernel"]
    axes.legend(
        handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.15), ncols=3, fontsize=8
    )


def _branch_numbers(models) -> dict[str, int]:
    """A number for each branch, in the order of ``models``; the dense model counts as the first."""
    found = dict.fromkeys(names.branch(m) for m in models if m != DENSE)
    return {"": 0, **{branch: number for number, branch in enumerate(found)}}


def _legend_below(figure, axes) -> None:
    """The legend of ``axes``, for the whole figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False
    )


def _save(figure, path: Path) -> None:
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
