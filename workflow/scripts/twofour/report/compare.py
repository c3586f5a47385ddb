"""The table that says what the sparsity gained, and a summary of it in words.

Column names and rules: a cell that was not measured is empty; accuracies are percent; top1_drop is
in points below the dense model in the same backend and precision; speedup is throughput over that
of the same dense row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts import EVALUATION, SPARSITY, SPEED, WEIGHTS
from ..models import DENSE, GIVEN, PRUNED, SPARSE, Model, of_kind
from ..network import weights
from ..sparse import pattern
from ..system.errors import TwoFourError
from ..system.files import read_json

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
    "device_img_s",
    "device_speedup",
    "sparse_kernels",
    "note",
    "made",
]
NOISE = 0.02  # a speed-up within 2 % of 1 is not reported as one, however steady it looks


@dataclass(frozen=True)
class Table:
    """The comparison: a row for each model × backend × precision × batch size, and the models."""

    frame: pd.DataFrame
    models: Sequence[Model]

    def of_kind(self, kind: str) -> pd.DataFrame:
        """The rows of the models of one kind."""
        names = [model.name for model in of_kind(self.models, kind)]
        return self.frame[self.frame["model"].isin(names)]

    def kinds(self) -> list[str]:
        """The kind of each row's model."""
        known = {model.name: model.kind for model in self.models}
        return [known[name] for name in self.frame["model"]]

    def branch(self, name: str) -> str:
        """What distinguishes the model ``name`` within its kind; "" if it is the only one."""
        return next(model.branch for model in self.models if model.name == name)

    def parent(self, name: str) -> str:
        """The model that the model ``name`` was made from."""
        parent = next(model.parent for model in self.models if model.name == name)
        assert parent is not None, name
        return parent


def build(
    results: Path,
    models: Sequence[Model],
    cases: Sequence[tuple[str, str]],
    batch_sizes: Sequence[int],
) -> Table:
    """The comparison of the run in folder ``results``: a row per model × backend × batch size.

    ``cases`` are (backend, precision). speedup_low and speedup_high are the smallest and largest
    ratio to the dense model over the rounds of the benchmark, each ratio within one round.
    device_img_s and device_speedup go by the time of a GPU's computation alone, without copies;
    they are empty where the backend does not report it.
    """
    densities = {model.name: _density(results, model, models) for model in models}
    rows: list[dict] = []
    rounds: dict[tuple, list[float]] = {}
    for backend, precision in cases:
        for batch_size in batch_sizes:
            for model in models:
                which = {"model": model.name, "case": f"{backend}-{precision}"}
                accuracy = read_json(results / EVALUATION.format(**which))
                speed = read_json(results / SPEED.format(**which, batch_size=batch_size))
                case = (backend, precision, batch_size, model.name)
                rounds[case] = speed["synthetic"]["rounds_img_s"]
                rows.append(_row(model, densities[model.name], accuracy, speed))
    frame = pd.DataFrame(rows)
    dense = frame[frame["model"] == DENSE].set_index(CASE)
    for index, row in frame.iterrows():
        case = tuple(row[key] for key in CASE)
        base = dense.loc[case]
        frame.loc[index, "top1_drop"] = base["top1"] - row["top1"]
        frame.loc[index, "speedup"] = row["throughput_img_s"] / base["throughput_img_s"]
        frame.loc[index, "device_speedup"] = row["device_img_s"] / base["device_img_s"]
        ratios = np.divide(rounds[(*case, row["model"])], rounds[(*case, DENSE)])
        frame.loc[index, ["speedup_low", "speedup_high"]] = [ratios.min(), ratios.max()]
    return Table(frame[COLUMNS], models)


def _row(model: Model, density: float | None, accuracy: Mapping, speed: Mapping) -> dict:
    latency = speed["synthetic"]["latency_ms"]
    return {
        "model": model.name,
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
        "device_img_s": speed["synthetic"].get("device", {}).get("throughput_img_s", np.nan),
        "sparse_kernels": speed["sparse_kernels"],
        "note": speed["note"] or None,
        "made": _made(model),
    }


def _density(results: Path, model: Model, models: Sequence[Model]) -> float | None:
    """Share of non-zeros in the layers that are sparse in the model's branch.

    The dense model's is over those of the first branch.
    """
    pruned = of_kind(models, PRUNED)
    same = [other for other in pruned if other.branch == model.branch] or pruned
    layers = read_json(results / same[0].name / SPARSITY)["layers"]
    sparse = [layer["name"] for layer in layers if layer["sparse"]]
    return pattern.density(weights.load(results / model.name / WEIGHTS), sparse)


def _made(model: Model) -> str:
    """How a model was made, for the table: "training", or "given in" a file."""
    return f"given in {model.file}" if model.made == GIVEN else model.made


def read(path: Path, models: Sequence[Model]) -> Table:
    """Read comparison.csv back."""
    try:
        return Table(pd.read_csv(path), models)
    except (OSError, ValueError) as error:
        raise TwoFourError(f"cannot read {path}: {error}") from error


# --- for display --------------------------------------------------------------------------------

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
    "device_speedup": ("GPU alone", "{:.2f}"),
    "end_to_end_img_s": ("from files img/s", "{:.0f}"),
    "latency_p50_ms": ("p50 ms", "{:.2f}"),
    "latency_p99_ms": ("p99 ms", "{:.2f}"),
    "density": ("density", "{:.2f}"),
    "size_mb": ("MB", "{:.2f}"),
}


def _columns(table: Table) -> list[str]:
    """The columns to show: all but those for which nothing was measured."""
    return [key for key in _SHOWN if table.frame[key].notna().any()]


def headings(table: Table) -> list[str]:
    """Headings of the table for display."""
    return [_SHOWN[key][0] for key in _columns(table)]


def cells(table: Table) -> list[list[str]]:
    """The table for display as rows of text; a missing value is empty."""
    return [
        ["" if pd.isna(row[key]) else _SHOWN[key][1].format(row[key]) for key in _columns(table)]
        for _, row in table.frame.iterrows()
    ]


def notes(table: Table) -> list[str]:
    """What must be known about a backend's rows, a line each, and what the columns mean."""
    noted = table.frame[["backend", "note"]].dropna().drop_duplicates()
    plain = [m.name for m in table.models if m.branch and m.branch not in m.name]
    gpu = "GPU alone: the same ratio of the time that the GPU computed, without copies. "
    return [
        *(
            f"{_list(list(rows['backend']))}: {note}."
            for note, rows in noted.groupby("note", sort=False)
        ),
        *_model_notes(table),
        *([f"{_list(plain)}: by {table.branch(plain[0])}."] if plain else []),
        "drop: points of top-1 below the dense model in the same backend and precision. "
        "speed-up: img/s over those of the dense model in the same backend, precision and batch "
        "size, measured in turns. "
        + (gpu if table.frame["device_speedup"].notna().any() else "")
        + "from files: reading and decoding the image files included. p50, p99: latency of a "
        "batch. density: share of non-zero weights in the layers that 2:4 applies to. MB: size of "
        "the deployed files.",
    ]


def markdown(table: Table, text: str) -> str:
    """comparison.md: the words and the table."""
    head = headings(table)
    lines = [head, ["---"] * len(head), *cells(table)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    devices = ", ".join(sorted(table.frame["device"].unique()))
    below = "\n\n".join([f"Measured on {devices}.", *notes(table)])
    return f"# Dense and 2:4 sparse\n\n{text}\n\n{body}\n\n{below}\n"


def _model_notes(table: Table) -> list[str]:
    """A sentence for each model whose figures need one: where it comes from, how it was made."""
    return [f"{model.name}: {model.note}." for model in table.models if model.note]


_BRIEF = ("model", "top1", "top1_drop", "throughput_img_s", "speedup", "size_mb")
_WIDTH = 79  # characters: a terminal has at least 80


def verdict(table: Table, text: str, page: Path) -> str:
    """verdict.txt, what a run shows at its end: the words, a row for each model, the page's path.

    The rows are those of the case in which the dense model is fastest.
    """
    dense = table.of_kind(DENSE)
    case = dense.loc[dense["throughput_img_s"].idxmax(), CASE]
    rows = table.frame[(table.frame[CASE] == case).all(axis=1)]
    shown = [[_SHOWN[key][1].format(row[key]) for key in _BRIEF] for _, row in rows.iterrows()]
    lines = [[_SHOWN[key][0] for key in _BRIEF], *shown]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_BRIEF))]
    body = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
        for line in lines
    ]
    where = f"{case['backend']} {case['precision']} at batch {case['batch_size']}, the fastest:"
    below = [textwrap.fill(line, _WIDTH) for line in _model_notes(table)]
    page_line = f"Everything else: {page}"
    return "\n".join(["", textwrap.fill(text, _WIDTH), "", where, *body, *below, "", page_line, ""])


def words(table: Table) -> str:
    """One paragraph: what the sparsity cost and bought, computed from the table."""
    return " ".join([*_accuracy_words(table), *_speed_words(table), *_fastest_words(table)])


def _accuracy_words(table: Table) -> list[str]:
    """A sentence for each pruned and retrained pair, the same ones of several backends joined."""
    where: dict[str, list[str]] = {}
    accuracy = table.frame.drop_duplicates(["model", "backend", "precision"])
    (dense,) = of_kind(table.models, DENSE)
    for (backend, precision), group in accuracy.groupby(["backend", "precision"], sort=False):
        rows = group.set_index("model")
        for model in of_kind(table.models, SPARSE):
            outcome = _accuracy_outcome(rows, model, dense)
            where.setdefault(outcome, []).append(f"{backend} {precision}")
    return [f"In {_list(list(dict.fromkeys(w)))}, {outcome}" for outcome, w in where.items()]


def _accuracy_outcome(rows: pd.DataFrame, model: Model, dense: Model) -> str:
    sparse = rows.loc[model.name]
    drop, images = sparse["top1_drop"], int(sparse["images"])
    count = round(abs(drop) * images / 100)
    if count == 0:
        outcome = "exactly the dense model's"
    else:
        direction = "below" if drop > 0 else "above"
        outcome = f"{abs(drop):.2f} points {direction} the dense model ({count} of {images} images)"
    by = f" by {model.branch}" if model.branch else ""
    retraining = "retraining with the same hyper-parameters"
    if dense.made == GIVEN:  # with whose hyper-parameters nobody knows
        retraining = f"retraining it from the dense weights in {dense.file}"
    if model.distilled:
        retraining += " and distillation from the dense model"
    return (
        f"pruning alone{by} took top-1 from {rows.loc[DENSE, 'top1']:.2f} % to "
        f"{rows.loc[model.parent, 'top1']:.2f} %; {retraining} "
        f"brought the 2:4 sparse model to {sparse['top1']:.2f} %, {outcome}."
    )


def _speed_words(table: Table) -> list[str]:
    gains: list[str] = []
    losses: list[str] = []
    level: dict[str, list[float]] = {}
    sparse = table.of_kind(SPARSE)
    for _, row in sparse.iterrows():
        if row["speedup_low"] > 1 + NOISE:
            gains.append(_case_words(table, row))
        elif row["speedup_high"] < 1 - NOISE:
            losses.append(_case_words(table, row))
        else:
            level.setdefault(f"{row['backend']} {row['precision']}", []).append(row["speedup"])
    who = "A sparse model" if sparse["model"].nunique() > 1 else "The sparse model"
    sentences = []
    if gains:
        sentences.append(f"{who} was faster than the dense one in {_list(gains)}.")
    if losses:
        sentences.append(f"{who} was slower than the dense one in {_list(losses)}.")
    if level:
        rest = "the other cases of " if gains or losses else ""
        cases = [f"{case} ({_range(ratios)} ×)" for case, ratios in level.items()]
        start = "No speed was gained or lost beyond the noise of the measurement"
        sentences.append(f"{start} in {rest}{_list(cases)}.")
    frame = table.frame
    blind = list(frame[~frame["sparse_kernels"].astype(bool)]["backend"].unique())
    if blind:
        sentences.append(
            f"No gain was to be expected from {_list(blind)}, which "
            f"{'runs' if len(blind) == 1 else 'run'} dense kernels, so that differences there are "
            "noise."
        )
    return sentences


def _fastest_words(table: Table) -> list[str]:
    """Which backend ran the sparse models fastest, by batch size; nothing if there is only one."""
    sparse = table.of_kind(SPARSE)
    if len(sparse[["backend", "precision"]].drop_duplicates()) < 2:
        return []
    best = sparse.loc[sparse.groupby("batch_size")["throughput_img_s"].idxmax()]
    won: dict[str, list[str]] = {}
    for _, row in best.iterrows():
        case = f"{row['batch_size']} ({row['throughput_img_s']:.0f} img/s)"
        won.setdefault(f"{row['backend']} {row['precision']}", []).append(case)
    cases = [f"{case} at batch {_list(batches)}" for case, batches in won.items()]
    return [f"Fastest with 2:4 sparse weights: {'; '.join(cases)}."]


def _range(ratios: list[float]) -> str:
    low, high = (f"{ratio:.2f}" for ratio in (min(ratios), max(ratios)))
    return low if low == high else f"{low} to {high}"


def _case_words(table: Table, row: pd.Series) -> str:
    """Backend, precision, batch size, branch (if there are several) and speed-up of a row."""
    branch = table.branch(row["model"])
    case = f"{row['backend']} {row['precision']} at batch {row['batch_size']}"
    case += f" with {branch}" if branch else ""
    alone = row["device_speedup"]
    device = "" if pd.isna(alone) else f"; {alone:.2f} × without the copies to and from the GPU"
    return f"{case} ({row['speedup']:.2f} ×{device})"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
