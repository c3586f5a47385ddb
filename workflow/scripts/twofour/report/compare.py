"""The table that says what the sparsity cost and gained.

Column names and rules: a cell that was not measured is empty; accuracies are percent; top1_drop is
in points below the model ``drop_against`` in the same backend and precision; speedup is throughput
over that of the dense row. Intervals are of 95 %. Rows of quantised models also say what both steps
cost: int8_drop is below the same model in fp32, both_drop below the dense one (or the control) in
fp32, and fp32_speedup is throughput over that of the dense model in fp32 in the same backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts import EVALUATION, PREDICTIONS, REFERENCE, SPARSITY, SPEED, WEIGHTS
from ..data import lists
from ..data.lists import Dataset
from ..deploy import predicted, reference
from ..deploy.backends import INT8
from ..models import (
    CONTROL,
    DENSE,
    GIVEN,
    PRUNED,
    QAT,
    RIVAL,
    SPARSE,
    Model,
    in_case,
    of_first_seed,
    of_kind,
)
from ..network import weights
from ..sparse import pattern
from ..system.errors import TwoFourError
from ..system.files import read_json
from . import statistics

BITS = {INT8: 8, "fp16": 16, "bf16": 16}  # of a stored weight, where it is not 32
LATENCIES = ("mean", "p50", "p90", "p95", "p99")
DROP_PARTS = ("_low", "_high", "_p")
CASE = ["backend", "precision", "batch_size"]  # what rows must share to be compared
COLUMNS = [
    *("model", "backend", "precision", "device", "batch_size"),
    *("top1", "top5", "top1_drop", "images", "throughput_img_s"),
    *("speedup", "speedup_low", "speedup_high", "end_to_end_img_s"),
    *(f"latency_{name}_ms" for name in LATENCIES),
    *("density", "size_mb", "device_img_s", "device_speedup", "sparse_kernels", "note", "made"),
    # Whether the accuracy differs: interval, against what, images that only one of both has right
    *("top1_low", "top1_high", "drop_against", "drop_low", "drop_high"),
    *("only_other", "only_this", "drop_p"),
    "seed",
    # Whether the speed differs: the dense model against itself, p value, corrected for all cases
    *("noise_low", "noise_high", "speedup_p", "speedup_p_holm"),
    *("joules_per_image", "gpu_mhz", "gpu_celsius", "gpu_watt_limit", "gpu_slowed"),
    # What quantisation cost and bought, alone and with sparsity
    *(f"{drop}{part}" for drop in ("int8_drop", "both_drop") for part in ("", *DROP_PARTS)),
    *("same_as_fp32", "fp32_speedup", "fp32_speedup_low", "fp32_speedup_high"),
    *("fp32_speedup_p", "fp32_speedup_p_holm", "compressed_mb"),
    *("sparse_layers", "possible_layers"),
]
# The drops of a row: the points, the ends of their interval, and the p value that there is none.
DROPS = {
    "top1_drop": ("drop_low", "drop_high", "drop_p"),
    **{drop: tuple(drop + part for part in DROP_PARTS) for drop in ("int8_drop", "both_drop")},
}


@dataclass(frozen=True)
class Table:
    """The comparison: a row for each model × backend × precision × batch size, and the models."""

    frame: pd.DataFrame
    models: Sequence[Model]

    def of_kind(self, kind: str) -> pd.DataFrame:
        """The rows of the models of one kind."""
        names = [model.name for model in of_kind(self.models, kind)]
        return self.frame[self.frame["model"].isin(names)]

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

    ``cases`` are (backend, precision). Accuracies are compared image by image, with the control
    where there is one and else with the dense model; speeds round by round with the dense model,
    whose second turn in each round (noise_low to noise_high) shows what is noise. device_img_s and
    device_speedup go by the time of a GPU's computation alone, without copies; they are empty where
    the backend does not report it.
    """
    dataset = lists.read(results / "dataset")
    stored = {model.name: _stored(results, model, models) for model in models}
    rows: list[dict] = []
    floating: dict[str, np.ndarray] = {}
    if any(precision == INT8 for _, precision in cases):
        plain = [m for m in models if m.kind != QAT]
        floating = {m.name: _right_in_float(results, m.name, dataset) for m in plain}
    for backend, precision in cases:
        case, here = f"{backend}-{precision}", in_case(models, precision)
        right = {m.name: _right(results, m.name, case, dataset) for m in here}
        known = {}
        for model in here:
            accuracy = read_json(results / EVALUATION.format(model=model.name, case=case))
            against = _other(model, models)
            known[model] = {
                **_row(model, stored[model.name], accuracy),
                **_accuracy_differences(right[against], right[model.name], against),
            }
            if precision == INT8:
                same = model.parent if model.kind == QAT and model.parent else model.name
                quantised = statistics.difference(floating[same], right[model.name])
                both = statistics.difference(floating[against], right[model.name])
                known[model].update(
                    **_drop("int8_drop", quantised),
                    **_drop("both_drop", both),
                    same_as_fp32=100 * accuracy["training_graph"]["equal_predictions"],
                )
        first = of_first_seed(here)  # speed does not depend on the seed
        rows += [
            {**known[model], **found} for model, found in speeds(results, first, case, batch_sizes)
        ]
        rows += [row for model, row in known.items() if model.head]
    frame = pd.DataFrame(rows)
    frame["batch_size"] = frame["batch_size"].astype("Int64")
    frame["seed"] = frame["seed"].astype("Int64")
    kinds = {model.name: model.kind for model in models}
    sparse, dense, qat = (frame["model"].map(kinds) == kind for kind in (SPARSE, DENSE, QAT))
    twins = qat & frame["model"].isin(model.name for model in models if model.twin_of_sparse)
    rivals = frame["model"].map(kinds) == RIVAL
    correct(frame, "speedup_p", sparse | twins | rivals)
    correct(frame, "fp32_speedup_p", sparse | dense | qat)
    return Table(frame[COLUMNS], models)


def speeds(
    folder: Path, models: Sequence[Model], case: str, batch_sizes: Sequence[int]
) -> Iterator[tuple[Model, dict]]:
    """Each of ``models`` at each batch size in a case, with what was measured below ``folder``.

    The first is what the others are compared with.
    """
    measured = {m: read_json(folder / SPEED.format(model=m.name, case=case)) for m in models}
    for batch_size in batch_sizes:
        found = {model: records[str(batch_size)] for model, records in measured.items()}
        dense = found[models[0]]
        for model, speed in found.items():
            yield model, {**_speed(speed), **_speed_differences(dense, speed)}


def correct(frame: pd.DataFrame, column: str, claims: pd.Series) -> None:
    """Add <column>_holm: the p values of the rows for which a gain or a loss may be claimed."""
    claims = claims & frame[column].notna()
    frame[f"{column}_holm"] = np.nan
    frame.loc[claims, f"{column}_holm"] = statistics.holm(frame.loc[claims, column].tolist())


def _right_in_float(results: Path, model: str, dataset: Dataset) -> np.ndarray:
    """The same of the training graph, in fp32."""
    found = reference.read(results / REFERENCE.format(model=model), dataset.content)
    return found.argmax(axis=1) == dataset.val.labels


def _right(results: Path, model: str, case: str, dataset: Dataset) -> np.ndarray:
    """Whether the first class is the true one, for each validation image."""
    path = results / PREDICTIONS.format(model=model, case=case)
    found = predicted.read(path, dataset.content)
    return found.labels[:, 0] == dataset.val.labels


def _other(model: Model, models: Sequence[Model]) -> str:
    """The model that another one's accuracy is compared with.

    That is the control for retrained ones, which have trained as long, and else the dense model.
    """
    control = [other.name for other in of_kind(models, CONTROL) if other.head == model.head]
    retrained = model.kind == SPARSE or model.twin_of_sparse
    return control[0] if control and retrained else model.head + DENSE


def _accuracy_differences(other: np.ndarray, this: np.ndarray, against: str) -> dict:
    found = statistics.difference(other, this)
    low, high = statistics.wilson(int(this.sum()), len(this))
    return {
        "top1_low": low,
        "top1_high": high,
        **_drop("top1_drop", found),
        "drop_against": against,
        "only_other": found.first,
        "only_this": found.second,
    }


def _drop(name: str, found: statistics.Difference) -> dict[str, float]:
    """The columns of a drop: how much less the second of two models has right."""
    values = (-found.points + 0.0, -found.high, -found.low, found.p)  # no -0.0
    return dict(zip((name, *DROPS[name]), values))


def _speed_differences(dense: Mapping, this: Mapping) -> dict:
    base = np.array(dense["synthetic"]["rounds_img_s"])
    rates = np.array(this["synthetic"]["rounds_img_s"])
    again = np.array(dense["again"]["synthetic"]["rounds_img_s"])
    low, high = statistics.ratio_interval(rates, base)
    noise = statistics.ratio_interval(again, base)
    result = {
        "speedup": this["synthetic"]["throughput_img_s"] / dense["synthetic"]["throughput_img_s"],
        "speedup_low": low,
        "speedup_high": high,
        "noise_low": noise[0],
        "noise_high": noise[1],
        "speedup_p": statistics.ratio_p(rates / base),
    }
    if "floating" in dense:
        fp32 = np.array(dense["floating"]["synthetic"]["rounds_img_s"])
        low, high = statistics.ratio_interval(rates, fp32)
        result.update(
            fp32_speedup=float(np.median(rates) / np.median(fp32)),
            fp32_speedup_low=low,
            fp32_speedup_high=high,
            fp32_speedup_p=statistics.ratio_p(rates / fp32),
        )
    if "device" in dense["synthetic"]:
        alone = [speed["synthetic"]["device"]["throughput_img_s"] for speed in (this, dense)]
        result["device_speedup"] = alone[0] / alone[1]
    return result


def _row(model: Model, stored: _Stored, accuracy: Mapping) -> dict:
    bits = BITS.get(accuracy["precision"], 32)
    return {
        **dict.fromkeys(COLUMNS, np.nan),
        "model": model.name,
        "seed": model.seed,
        "backend": accuracy["backend"],
        "precision": accuracy["precision"],
        "top1": accuracy["top1"],
        "top5": accuracy["top5"],
        "images": accuracy["images"],
        "density": stored.density,
        "compressed_mb": stored.megabytes(bits),
        "sparse_layers": stored.layers if model.promise else np.nan,
        "possible_layers": stored.possible if model.promise else np.nan,
        "note": None,
        "made": _made(model),
    }


def _speed(speed: Mapping) -> dict:
    latency = speed["synthetic"]["latency_ms"]
    return {
        "device": speed["device_name"],
        "batch_size": speed["batch_size"],
        "throughput_img_s": speed["synthetic"]["throughput_img_s"],
        "end_to_end_img_s": (speed["end_to_end"] or {}).get("throughput_img_s", np.nan),
        **{f"latency_{name}_ms": latency[name] for name in LATENCIES},
        "size_mb": speed["size_mb"],
        "device_img_s": speed["synthetic"].get("device", {}).get("throughput_img_s", np.nan),
        "sparse_kernels": speed["sparse_kernels"],
        "note": speed["note"] or None,
        **_power(speed["synthetic"].get("power", {})),
    }


def _power(power: Mapping) -> dict:
    """Energy, and a GPU's lowest clock, highest temperature, lowest limit, and what slowed it."""
    nothing = (np.nan, np.nan)
    return {
        "joules_per_image": power.get("joules_per_image", np.nan),
        "gpu_mhz": power.get("clock", nothing)[0],
        "gpu_celsius": power.get("temperature", nothing)[1],
        "gpu_watt_limit": power.get("limit", nothing)[0],
        "gpu_slowed": ", ".join(power.get("slowed", ())) or None,
    }


@dataclass(frozen=True)
class _Stored:
    """A model's weights: share of non-zeros in the layers that 2:4 applies to, and how many.

    ``parameters`` are all, ``sparse`` those in layers that are 2:4 sparse; so are ``layers`` of the
    ``possible`` ones, of which sparsity.choose may have left some dense.
    """

    density: float | None
    parameters: int
    sparse: int
    layers: int
    possible: int

    def megabytes(self, bits: int) -> float:
        """The size of the weights, of ``bits`` each, with 2:4 layers compressed.

        Of each four weights two are stored, and two bits for each that say which (A. Mishra et al.,
        "Accelerating Sparse Deep Neural Networks", 2021, section 3.1).
        """
        dense = self.parameters - self.sparse
        return (dense * bits + self.sparse // 2 * (bits + 2)) / 8e6


def _stored(results: Path, model: Model, models: Sequence[Model]) -> _Stored:
    """How the weights of a model are stored, by the sparsity.json of its branch.

    The dense model's density is over the layers of the first branch.
    """
    pruned = of_kind(models, PRUNED)
    pruned = [other for other in pruned if other.head == model.head]
    same = [other for other in pruned if other.branch == model.branch] or pruned
    layers = read_json(results / same[0].name / SPARSITY)["layers"]
    state = weights.load(results / model.name / WEIGHTS)
    # A rival may have fewer layers.
    sparse = [layer["name"] for layer in layers if layer["sparse"] and layer["name"] in state]
    return _Stored(
        pattern.density(state, sparse),
        sum(array.size for array in state.values()),
        sum(state[name].size for name in sparse) if model.promise else 0,
        sum(row["sparse"] for row in layers),
        sum(row["sparse"] or "sparsity.choose" in row["reason"] for row in layers),
    )


def over_seeds(table: Table) -> Table:
    """The ``table`` with the models of the first seed, and means over all seeds in their rows.

    top1, top5 and top1_drop are means, top1_sd and drop_sd standard deviations over the seeds; each
    drop is paired by seed, and the interval of their mean counts seeds and images as samples.
    With a single seed, the table itself, with empty deviations.
    """
    first = of_first_seed(table.models)
    frame = table.frame.copy()
    frame[["top1_sd", "drop_sd"]] = np.nan
    names = {m.name: m.name.removeprefix(m.head) for m in table.models}
    plain = frame["model"].map(names)
    frame = frame[frame["model"] == plain].copy()
    means = ["top1", "top5", *(name for drop in DROPS for name in (drop, *DROPS[drop]))]
    frame[means] = frame[means].astype(float)
    if len(first) == len(table.models):
        return Table(frame, first)
    every = table.frame.drop_duplicates(["model", "backend", "precision"])
    groups = every.groupby([every["model"].map(names), "backend", "precision"])
    for index, row in frame.iterrows():
        group = groups.get_group((row["model"], row["backend"], row["precision"]))
        frame.loc[index, ["top1", "top5"]] = group[["top1", "top5"]].mean()
        frame.loc[index, ["top1_sd", "drop_sd"]] = group[["top1", "top1_drop"]].std().tolist()
        frame.loc[index, ["top1_low", "top1_high"]] = np.nan
        itself = bool((group["drop_against"] == group["model"]).any())
        for drop, (low, high, p) in DROPS.items():
            if group[drop].notna().all() and not (itself and drop == "top1_drop"):
                reach = (group[high] - group[low]).to_numpy() / 2
                found = statistics.over_seeds(group[drop].to_numpy(), reach, int(row["images"]))
                frame.loc[index, [drop, low, high, p]] = found
        frame.loc[index, ["only_other", "only_this"]] = group[["only_other", "only_this"]].sum()
    return Table(frame, first)


def _made(model: Model) -> str:
    """How a model was made, for the table: "training", or "given in" a file."""
    return f"given in {model.file}" if model.made == GIVEN else model.made


def read(path: Path, models: Sequence[Model]) -> Table:
    """Read comparison.csv back; columns that an older version did not write are empty."""
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise TwoFourError(f"cannot read {path}: {error}") from error
    return Table(frame.reindex(columns=COLUMNS), models)
