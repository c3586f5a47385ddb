"""The comparison for people: two tables, of accuracy and of speed, for page, Markdown, terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..deploy.backends import INT8
from ..models import CONTROL, DENSE, RIVAL, SPARSE, of_first_seed, of_kind
from . import outcome, words
from .compare import Table, over_seeds

# heading: (column that must have been measured, the cell of a row)
_Column = tuple[str, Callable[[pd.Series], str]]


def _number(column: str, form: str) -> _Column:
    return column, lambda row: "" if pd.isna(row[column]) else form.format(row[column])


def _interval(low: str, high: str, form: str = "{:.2f}") -> _Column:
    def cell(row: pd.Series) -> str:
        if pd.isna(row[low]):
            return ""
        return f"{form.format(row[low])} to {form.format(row[high])}".replace("-", "−")

    return low, cell


def _unless_itself(column: _Column) -> _Column:
    """Empty for the dense model, which is compared with itself."""
    name, cell = column
    return name, lambda row: "" if row["model"] == DENSE else cell(row)


_MODEL: dict[str, _Column] = {
    "model": _number("model", "{}"),
    "backend": _number("backend", "{}"),
    "precision": _number("precision", "{}"),
}
_ACCURACY: dict[str, _Column] = {
    **_MODEL,
    "top-1 %": _number("top1", "{:.2f}"),
    "95 % interval": _interval("top1_low", "top1_high"),
    "± of seeds": _number("top1_sd", "{:.2f}"),
    "top-5 %": _number("top5", "{:.2f}"),
    "drop": _unless_itself(_number("top1_drop", "{:.2f}")),
    "interval of the drop": _unless_itself(_interval("drop_low", "drop_high")),
    "against": _unless_itself(_number("drop_against", "{}")),
    "int8 drop": _number("int8_drop", "{:.2f}"),
    "its interval": _interval("int8_drop_low", "int8_drop_high"),
    "both drop": _number("both_drop", "{:.2f}"),
    "interval of both": _interval("both_drop_low", "both_drop_high"),
    "as in fp32 %": _number("same_as_fp32", "{:.2f}"),
    "density": _number("density", "{:.2f}"),
    "MB": _number("size_mb", "{:.2f}"),
    "compressed MB": _number("compressed_mb", "{:.2f}"),
}
_SPEED: dict[str, _Column] = {
    **_MODEL,
    "batch": _number("batch_size", "{}"),
    "img/s": _number("throughput_img_s", "{:.0f}"),
    "speed-up": _number("speedup", "{:.2f}"),
    "its interval": _unless_itself(_interval("speedup_low", "speedup_high")),
    "noise": _interval("noise_low", "noise_high"),
    "over dense fp32": _number("fp32_speedup", "{:.2f}"),
    "interval of that": _interval("fp32_speedup_low", "fp32_speedup_high"),
    "GPU alone": _number("device_speedup", "{:.2f}"),
    "from files img/s": _number("end_to_end_img_s", "{:.0f}"),
    "p50 ms": _number("latency_p50_ms", "{:.2f}"),
    "p99 ms": _number("latency_p99_ms", "{:.2f}"),
    "J per image": _number("joules_per_image", "{:.3g}"),
    "MHz": _number("gpu_mhz", "{:.0f}"),
}
_SEEDS = (
    " Accuracies are means over the seeds, ± their standard deviation; drops are paired by seed, "
    "and speed is that of the first seed."
)
_INT8 = (
    "int8 drop: points below the same model in fp32; both drop: below the dense model (or the "
    "control) in fp32; as in fp32: images with the same predicted class. over dense fp32: img/s "
    "over those of the dense model in fp32, in the same turns. "
)
_JOULES = " J per image: energy of the whole processor or GPU, with all that ran there meanwhile."
_CLOCK = " MHz: the GPU's lowest clock at the end of a turn."
WORDS = 3  # columns of words at the left


@dataclass(frozen=True)
class Grid:
    """A table for display: ``headings``, ``rows`` of text, and the kind of each row's model."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str]


def accuracy(table: Table) -> Grid:
    """A row for each model, backend and precision; of several seeds, their means."""
    means = over_seeds(table)
    return _grid(means, means.frame.drop_duplicates(["model", "backend", "precision"]), _ACCURACY)


def speed(table: Table) -> Grid:
    """A row for each model, backend, precision and batch size, of the first seed."""
    return _grid(table, over_seeds(table).frame, _SPEED)


def _grid(table: Table, frame: pd.DataFrame, columns: dict[str, _Column]) -> Grid:
    shown = {head: cell for head, (key, cell) in columns.items() if frame[key].notna().any()}
    kinds = {model.name: model.kind for model in table.models}
    return Grid(
        list(shown),
        [[cell(row) for cell in shown.values()] for _, row in frame.iterrows()],
        [kinds[name] for name in frame["model"]],
    )


def square(table: Table) -> Grid | None:
    """What the same time buys: dense, control, sparse and rivals, in fp32 and int8.

    Of each top-1 with its interval, speed and size.

    In the backend and at the batch size in which one of them is fastest, in int8 if there is any.
    None where there is neither int8 nor a rival.
    """
    frame = over_seeds(table).frame
    plain = [name for kind in (DENSE, CONTROL, SPARSE, RIVAL) for name in _names(table, kind)]
    wanted = frame[frame["model"].isin(plain) & frame["precision"].isin(["fp32", INT8])]
    rounded = wanted[wanted["precision"] == INT8]
    if not len(rounded) and not (len(wanted) and _names(table, RIVAL)):
        return None
    fastest = rounded if len(rounded) else wanted
    best = fastest.loc[fastest["throughput_img_s"].idxmax()]
    same = wanted[
        (wanted[["backend", "batch_size"]] == best[["backend", "batch_size"]]).all(axis=1)
    ]
    kinds = {model.name: model.kind for model in table.models}
    precisions = [p for p in ("fp32", INT8) if (same["precision"] == p).any()]
    if len(precisions) < 2 and not _names(table, RIVAL):
        return None
    cells = {(row["model"], row["precision"]): _brief(row) for _, row in same.iterrows()}
    names = list(dict.fromkeys(same["model"]))
    return Grid(
        [f"{best['backend']}, batch {best['batch_size']}", *precisions],
        [[name, *(cells[name, precision] for precision in precisions)] for name in names],
        [kinds[name] for name in names],
    )


def _brief(row: pd.Series) -> str:
    reach = f"{row['top1_low']:.2f} to {row['top1_high']:.2f}"
    if pd.isna(row["top1_low"]):  # of several seeds
        reach = f"± {row['top1_sd']:.2f}"
    return (
        f"{row['top1']:.2f} % ({reach}), {row['throughput_img_s']:,.0f} img/s, "
        f"{row['size_mb']:.2f} MB"
    )


def _names(table: Table, kind: str) -> list[str]:
    return [model.name for model in of_kind(of_first_seed(table.models), kind)]


def notes(table: Table) -> list[str]:
    """What must be known of single models and backends, and what the columns mean, a line each."""
    noted = table.frame[["backend", "note"]].dropna().drop_duplicates()
    plain = [m.name for m in table.models if m.branch and m.branch not in m.name]
    alone = table.frame["device_speedup"].notna().any()
    return [
        *(
            f"{words.listed(list(rows['backend']))}: {note}."
            for note, rows in noted.groupby("note", sort=False)
        ),
        *_model_notes(table),
        *([f"{words.listed(plain)}: by {table.branch(plain[0])}."] if plain else []),
        "drop: points of top-1 below the model named beside it in the same backend and precision; "
        "intervals are of 95 %, those of the drop image by image. density: share of non-zero "
        "weights in the layers that were made 2:4 sparse. MB: size of the deployed files. "
        "compressed MB: size of the weights if of each four in 2:4 layers two were stored, and two "
        "bits for each that say which."
        + (_SEEDS if any(model.head for model in table.models) else ""),
        "speed-up: img/s over those of the dense model in the same backend, precision and batch "
        "size, measured in turns; noise: the interval of the dense model against itself in the "
        "same turns. "
        + (_INT8 if table.frame["int8_drop"].notna().any() else "")
        + ("GPU alone: the same by the GPU's own time, without copies. " if alone else "")
        + "from files: reading and decoding the image files included. p50, p99: latency of a "
        "batch."
        + (_JOULES if table.frame["joules_per_image"].notna().any() else "")
        + (_CLOCK if table.frame["gpu_mhz"].notna().any() else ""),
    ]


def _model_notes(table: Table) -> list[str]:
    """A sentence for each model whose figures need one: where it comes from, how it was made."""
    told = [f"{m.name}: {m.note}." for m in of_first_seed(table.models) if m.note]
    rows = table.frame.drop_duplicates("model")
    for _, row in rows[rows["model"].isin(_names(table, SPARSE))].iterrows():
        if row["sparse_layers"] < row["possible_layers"]:
            told.append(
                f"{row['model']}: {row['sparse_layers']:.0f} of {row['possible_layers']:.0f} "
                "layers that could be are 2:4 sparse; sparsity.choose left the others dense."
            )
    return told


def markdown(table: Table) -> str:
    """comparison.md: the verdict and the tables."""
    found = outcome.read(table)
    devices = ", ".join(sorted(table.frame["device"].dropna().unique()))
    parts = [
        "# Dense and 2:4 sparse",
        *words.verdict(found),
        " ".join(words.details(found)),
        *(lines(grid) for grid in [square(table)] if grid),
        "## Accuracy",
        lines(accuracy(table)),
        "## Speed",
        lines(speed(table)),
        f"Measured on {devices}.",
        *notes(table),
    ]
    return "\n\n".join(parts) + "\n"


def lines(grid: Grid) -> str:
    """A table of Markdown."""
    written = [grid.headings, ["---"] * len(grid.headings), *grid.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in written)


_BRIEF: dict[str, _Column] = {
    "model": _number("model", "{}"),
    "arithmetic": _number("precision", "{}"),
    "top-1 %": _number("top1", "{:.2f}"),
    "drop": _unless_itself(_number("top1_drop", "{:.2f}")),
    "interval": _unless_itself(_interval("drop_low", "drop_high")),
    "img/s": _number("throughput_img_s", "{:.0f}"),
    "speed-up": _number("speedup", "{:.2f}"),
    "MB": _number("size_mb", "{:.2f}"),
}
PREVIEWED: dict[str, _Column] = {
    "model": _number("model", "{}"),
    "arithmetic": _number("precision", "{}"),
    "img/s": _number("throughput_img_s", "{:.0f}"),
    "speed-up": _number("speedup", "{:.2f}"),
    "its interval": _unless_itself(_interval("speedup_low", "speedup_high")),
    "over dense fp32": _number("fp32_speedup", "{:.2f}"),
    "MB": _number("size_mb", "{:.2f}"),
}
_SPARED = (
    "MB",
    "its interval",
    "speed-up",
    "interval",
)  # columns that long names of models push out, in turn
WIDTH = 79  # characters: a terminal has at least 80


def terminal(table: Table, page: Path) -> str:
    """verdict.txt, what a run shows at its end: the verdict, a row for each model, the page's path.

    The rows are those of the backend and batch size in which one of them is fastest, or in which
    the one to deploy is.
    """
    found = outcome.read(table)
    fastest = found.choice or found.fastest
    means = over_seeds(table)
    backend = fastest.case.split()[0]
    same = (means.frame["backend"] == backend) & (means.frame["batch_size"] == fastest.batch_size)
    rows = means.frame[same]
    several = rows["precision"].nunique() > 1
    told = [textwrap.fill(line, WIDTH) for line in words.verdict(found)]
    below = [textwrap.fill(line, WIDTH) for line in _model_notes(table)]
    case = backend if several else fastest.case
    head = f"{case} at batch {fastest.batch_size}{'' if found.choice else ', the fastest'}:"
    return "\n".join(
        ["", *told, "", head, *plain(means, rows), *below, "", f"Everything else: {page}", ""]
    )


def plain(table: Table, rows: pd.DataFrame, chosen: dict[str, _Column] | None = None) -> list[str]:
    """Some ``rows`` of a table as lines of a terminal; what does not fit is left to the page."""
    several = rows["precision"].nunique() > 1
    columns = {k: v for k, v in (chosen or _BRIEF).items() if several or k != "arithmetic"}
    for left_out in (None, *_SPARED):
        grid = _grid(table, rows, {k: v for k, v in columns.items() if k != left_out})
        columns.pop(left_out or "", None)
        written = [grid.headings, *grid.rows]
        widths = [max(len(line[i]) for line in written) for i in range(len(grid.headings))]
        if sum(widths) + 2 * (len(widths) - 1) <= WIDTH:
            break
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
        for line in written
    ]
