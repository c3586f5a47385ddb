"""The pictures of the report, as SVG files."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .files import atomic
from .names import DENSE, MODELS, PRUNED, SPARSE

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
COLOURS = {DENSE: "#0072B2", PRUNED: "#999999", SPARSE: "#D55E00"}

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
    for name, history in histories.items():
        colour, epochs = COLOURS[name], history["epoch"]
        left.plot(epochs, history["train_loss"], "--", color=colour, label=f"{name}, training")
        left.plot(
            epochs, history["val_loss"], "o-", ms=3, color=colour, label=f"{name}, validation"
        )
        right.plot(epochs, history["top1"], "o-", ms=3, color=colour, label=name)
    left.set(xlabel="epoch", ylabel="loss (nats)", yscale="log", title="Loss")
    right.set(xlabel="epoch", ylabel="top-1 (%)", title="Top-1 on the validation images")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    _save(figure, path)


def accuracy_and_throughput(table: pd.DataFrame, path: Path) -> None:
    """Top-1 of each model, and its throughput in each backend at each batch size."""
    cases = table.groupby(["backend", "precision"], sort=False)
    figure, axes = plt.subplots(
        1, 1 + len(cases), figsize=(3.4 * (1 + len(cases)), 3.6), squeeze=False
    )
    accuracy = table.groupby("model", sort=False)["top1"].first()
    bars = axes[0, 0].bar(list(MODELS), [accuracy[m] for m in MODELS], color=list(COLOURS.values()))
    axes[0, 0].bar_label(bars, fmt="%.1f")
    axes[0, 0].set(ylabel="top-1 (%)", ylim=(0, 110), title="Accuracy")
    axes[0, 0].grid(axis="x", visible=False)
    for place, ((backend, precision), rows) in zip(axes[0, 1:], cases):
        sizes = list(dict.fromkeys(rows["batch_size"]))
        for offset, name in enumerate(MODELS):
            values = rows[rows["model"] == name].set_index("batch_size")["throughput_img_s"]
            where = np.arange(len(sizes)) + 0.27 * (offset - 1)
            place.bar(where, values[sizes], width=0.25, color=COLOURS[name], label=name)
        place.set_xticks(np.arange(len(sizes)), [str(size) for size in sizes])
        place.set(xlabel="batch size", ylabel="img/s", title=f"Throughput: {backend} {precision}")
        place.grid(axis="x", visible=False)
        place.legend(frameon=False)
    _save(figure, path)


def density(layers: list[dict], path: Path) -> None:
    """Share of non-zero weights in every layer of the sparse model (rows of sparsity.json)."""
    figure, axes = plt.subplots(figsize=(10, 3.8))
    names = [layer["name"].replace(".weight", "") for layer in layers]
    colours = [COLOURS[SPARSE] if layer["sparse"] else COLOURS[DENSE] for layer in layers]
    axes.bar(range(len(layers)), [layer["density"] for layer in layers], color=colours)
    axes.axhline(0.5, color="black", lw=0.8, ls=":")
    step = max(1, len(names) // 60)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=90, fontsize=7)
    axes.set(ylabel="density", ylim=(0, 1.05), title="Density by layer of the sparse model")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in (SPARSE, DENSE)]
    axes.legend(handles, ["2:4 sparse", "left dense"], loc="upper center", ncols=2, frameon=True)
    axes.grid(axis="x", visible=False)
    _save(figure, path)


def _save(figure, path: Path) -> None:
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)
