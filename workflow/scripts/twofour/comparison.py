"""The table that says what the sparsity bought, and what it says in words.

Column names and rules: a cell that was not measured is empty; accuracies are percent; top1_drop is
in points below the dense model in the same backend and precision; speedup is throughput over that
of the same dense row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from . import sparsity, weights
from .errors import TwoFourError
from .files import read_json
from .names import DENSE, MODELS, PRUNED, SPARSE

LATENCIES = ("mean", "p50", "p90", "p95", "p99")
CASE = ["backend", "precision", "batch_size"]  # what rows must share to be compared
COLUMNS = [
    "model",
    "backend",
    "precision",
    "device",
    "batch_size",
    "top1",
    "top5",
    "top1_drop",
    "images",
    "throughput_img_s",
    "speedup",
    "speedup_low",
    "speedup_high",
    "end_to_end_img_s",
    *(f"latency_{name}_ms" for name in LATENCIES),
    "density",
    "size_mb",
    "sparse_kernels",
]
NOISE = 0.02  # a speed-up within 2 % of 1 is not called one, however steady it looks


def build(results: Path, deploy: Mapping, batch_sizes: list[int]) -> pd.DataFrame:
    """The comparison of the run in folder ``results``: a row per model × backend × batch size.

    ``deploy`` is the config's section. speedup_low and speedup_high are the smallest and largest
    ratio to the dense model over the rounds of the benchmark, each ratio within one round.
    """
    densities = {model: _density(results, model) for model in MODELS}
    rows, rounds = [], {}
    for backend in deploy["backends"]:
        for precision in deploy["precisions"]:
            for batch_size in batch_sizes:
                for model in MODELS:
                    name = f"{backend}-{precision}"
                    accuracy = read_json(results / "evaluation" / model / f"{name}.json")
                    path = results / "benchmark" / model / name / f"bs{batch_size}.json"
                    speed = read_json(path)
                    rounds[backend, precision, batch_size, model] = speed["synthetic"][
                        "rounds_img_s"
                    ]
                    rows.append(_row(model, densities[model], accuracy, speed))
    table = pd.DataFrame(rows)
    dense = table[table["model"] == DENSE].set_index(CASE)
    for index, row in table.iterrows():
        case = tuple(row[key] for key in CASE)
        base = dense.loc[case]
        table.loc[index, "top1_drop"] = base["top1"] - row["top1"]
        table.loc[index, "speedup"] = row["throughput_img_s"] / base["throughput_img_s"]
        ratios = np.divide(rounds[(*case, row["model"])], rounds[(*case, DENSE)])
        table.loc[index, ["speedup_low", "speedup_high"]] = [ratios.min(), ratios.max()]
    return table[COLUMNS]


def _row(model: str, density: float, accuracy: Mapping, speed: Mapping) -> dict:
    latency = speed["synthetic"]["latency_ms"]
    return {
        "model": model,
        "backend": accuracy["backend"],
        "precision": accuracy["precision"],
        "device": speed["device_name"],
        "batch_size": speed["batch_size"],
        "top1": accuracy["top1"],
        "top5": accuracy["top5"],
        "images": accuracy["images"],
        "throughput_img_s": speed["synthetic"]["throughput_img_s"],
        "end_to_end_img_s": speed["end_to_end"]["throughput_img_s"],
        **{f"latency_{name}_ms": latency[name] for name in LATENCIES},
        "density": density,
        "size_mb": speed["size_mb"],
        "sparse_kernels": speed["sparse_kernels"],
    }


def _density(results: Path, model: str) -> float | None:
    layers = read_json(results / PRUNED / "sparsity.json")["layers"]
    names = [layer["name"] for layer in layers if layer["sparse"]]
    return sparsity.density(weights.load(results / model / "model.pdparams"), names)


def read(path: Path) -> pd.DataFrame:
    """Read comparison.csv back."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise TwoFourError(f"cannot read {path}: {error}") from error


# --- for people ---------------------------------------------------------------------------------

_SHOWN = {
    "model": ("model", "{}"),
    "backend": ("backend", "{}"),
    "precision": ("precision", "{}"),
    "batch_size": ("batch", "{}"),
    "top1": ("top-1 %", "{:.2f}"),
    "top5": ("top-5 %", "{:.2f}"),
    "top1_drop": ("drop", "{:.2f}"),
    "throughput_img_s": ("img/s", "{:.0f}"),
    "speedup": ("speed-up", "{:.2f}"),
    "end_to_end_img_s": ("from files img/s", "{:.0f}"),
    "latency_p50_ms": ("p50 ms", "{:.2f}"),
    "latency_p99_ms": ("p99 ms", "{:.2f}"),
    "density": ("density", "{:.2f}"),
    "size_mb": ("MB", "{:.2f}"),
}


def headings() -> list[str]:
    """Headings of the table for people."""
    return [heading for heading, _ in _SHOWN.values()]


def cells(table: pd.DataFrame) -> list[list[str]]:
    """The table for people as rows of text; a missing value is empty."""
    return [
        ["" if pd.isna(row[key]) else form.format(row[key]) for key, (_, form) in _SHOWN.items()]
        for _, row in table.iterrows()
    ]


def markdown(table: pd.DataFrame, text: str) -> str:
    """comparison.md: the words and the table."""
    lines = [headings(), ["---"] * len(_SHOWN), *cells(table)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    devices = ", ".join(sorted(table["device"].unique()))
    notes = (
        f"Measured on {devices}. drop: points of top-1 below the dense model in the same backend "
        "and precision. speed-up: img/s over those of the dense model in the same backend, "
        "precision and batch size. p50, p99: latency of a batch. density: share of non-zero "
        "weights in the layers that 2:4 applies to. MB: size of the deployed files."
    )
    return f"# Dense and 2:4 sparse\n\n{text}\n\n{body}\n\n{notes}\n"


def words(table: pd.DataFrame) -> str:
    """One paragraph: what the sparsity cost and bought, computed from the table."""
    return " ".join([*_accuracy_words(table), *_speed_words(table)])


def _accuracy_words(table: pd.DataFrame) -> list[str]:
    sentences = []
    accuracy = table.drop_duplicates(["model", "backend", "precision"])
    for (backend, precision), group in accuracy.groupby(["backend", "precision"], sort=False):
        rows = group.set_index("model")
        top1, images = rows["top1"], int(rows["images"].iloc[0])
        drop = rows.loc[SPARSE, "top1_drop"]
        count = round(abs(drop) * images / 100)
        if count == 0:
            outcome = "exactly the dense model's"
        else:
            direction = "below" if drop > 0 else "above"
            plural = "image" if count == 1 else "images"
            outcome = (
                f"{abs(drop):.2f} points {direction} the dense model ({count} of {images} {plural})"
            )
        sentence = (
            f"In {backend} {precision}, pruning alone took top-1 from {top1[DENSE]:.2f} % to "
            f"{top1[PRUNED]:.2f} %; retraining with the same hyper-parameters brought the 2:4 "
            f"sparse model to {top1[SPARSE]:.2f} %, {outcome}."
        )
        same = [s for s in sentences if s.partition(", ")[2] == sentence.partition(", ")[2]]
        if same:  # backends that agree to the image need no sentence each
            index = sentences.index(same[0])
            head, _, tail = same[0].partition(", ")
            sentences[index] = f"{head} and {backend} {precision}, {tail}"
        else:
            sentences.append(sentence)
    return sentences


def _speed_words(table: pd.DataFrame) -> list[str]:
    gains, losses, level = [], [], []
    for _, row in table[table["model"] == SPARSE].iterrows():
        case = f"{row['backend']} {row['precision']} at batch {row['batch_size']}"
        entry = f"{case} ({row['speedup']:.2f} ×)"
        if row["speedup_low"] > 1 + NOISE:
            gains.append(entry)
        elif row["speedup_high"] < 1 - NOISE:
            losses.append(entry)
        else:
            level.append(entry)
    sentences = []
    if gains:
        sentences.append(f"The sparse model was faster than the dense one in {_list(gains)}.")
    if losses:
        sentences.append(f"It was slower in {_list(losses)}.")
    if level:
        start = "No speed was gained or lost beyond the noise of the measurement"
        sentences.append(f"{start} in {_list(level)}.")
    blind = table[~table["sparse_kernels"].astype(bool)]["backend"].unique()
    if len(blind):
        sentences.append(
            f"No gain was to be expected from {_list(list(blind))}, which "
            f"{'has' if len(blind) == 1 else 'have'} no kernels that skip the zeros of 2:4 weights."
        )
    return sentences


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
