"""Pictures of what pruning costs, layer by layer and together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..models import COLOURS, DENSE, PRUNED, SPARSE
from ..sparse.sensitivity import BLOCK, LAYER, STAGE
from .style import STYLE, save


def draw_layers(table: pd.DataFrame, chosen: Mapping | None, path: Path) -> None:
    """The rise of the loss if a layer, block or stage alone is pruned, or all but it."""
    kinds = [kind for kind in (STAGE, BLOCK, LAYER) if (table.kind == kind).any()]
    counts = [max(3, int((table.kind == kind).sum())) for kind in kinds]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 1.2 * len(kinds) + 0.2 * sum(counts)))
        grid = figure.subplots(
            len(kinds), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": counts}
        )
        for axes, kind in zip(grid[:, 0], kinds):
            rows = table[table.kind == kind].iloc[::-1]
            names = [unit.removesuffix(".weight") for unit in rows.unit]
            where = np.arange(len(rows))
            colours = [COLOURS[PRUNED if chosen else SPARSE]] * len(rows)
            if chosen and kind == LAYER:
                taken = [chosen["choices"][unit]["sparse"] for unit in rows.unit]
                colours = [COLOURS[SPARSE] if sparse else COLOURS[DENSE] for sparse in taken]
            axes.barh(where, rows.loss_rise_alone, 0.7, color=colours)
            axes.plot(rows.loss_rise_rest, where, "|", color="#222222", ms=8)
            axes.set_yticks(where, names, fontsize=7)
            axes.set_title(f"{kind}s", fontsize=9)
            axes.grid(axis="y", visible=False)
        last = grid[-1, 0]
        last.set_xlabel("rise of the loss (nats) without retraining")
        blue = " (blue: it stays dense)" if chosen else ""
        told = f"bar: only this one is pruned{blue}"
        figure.text(0.5, 0, f"{told}; tick: all the others are", ha="center", va="top", fontsize=8)
        save(figure, path)


def draw_path(walked: pd.DataFrame, chosen: Mapping | None, path: Path) -> None:
    """Top-1 before retraining against what 2:4 saves, with more and more layers pruned."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 3.6))
        axes = figure.subplots()
        axes.plot(walked.gain, walked.top1, "o-", ms=4, color=COLOURS[SPARSE])
        for place in {0, len(walked) - 1}:
            row = walked.iloc[place]
            told = "dense" if row.layers == 0 else f"all {row.layers} layers"
            axes.annotate(
                told,
                (row.gain, row.top1),
                xytext=(-8, -12),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
        if chosen:
            row = walked[walked.layers == chosen["layers"]].iloc[0]
            axes.plot(row.gain, row.top1, "o", ms=11, mfc="none", mec="#222222", mew=1.5)
            axes.annotate(
                f"chosen: {chosen['layers']} of {chosen['of']} layers ",
                (row.gain, row.top1),
                xytext=(-8, -18),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
            limit = walked.top1.iloc[0] - chosen["max_top1_drop"]
            axes.axhline(limit, color="#777777", lw=0.8, ls=":")
        axes.set(
            xlabel="multiplications that 2:4 saves (%)",
            ylabel="top-1 on training images (%)",
            title="Layers pruned in the order of cost over gain, before retraining",
        )
        save(figure, path)
