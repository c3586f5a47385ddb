"""What a run found, as one structure from which page, terminal and Markdown make their words.

Nothing here is a sentence, and nothing in the sentences (:mod:`.words`) is decided there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..deploy.backends import INT8
from ..models import CONTROL, DENSE, GIVEN, QAT, RIVAL, SPARSE, Model, of_kind
from . import compare, statistics
from .compare import CASE, Table

# Points of top-1: where a loss of more is excluded, it has not been looked for in vain.
SMALL = 1.0
NOISE = 0.02  # a ratio of speeds within 2 % of 1 is no gain or loss, however steady it looks
# A machine counts as busy if the dense model differs from itself by more than this, …
SPREAD = 1.2
TAIL = 8.0  # … if p99 is so many times p50, or if reading files as well is faster
FASTER_FROM_FILES = 1.1

WORSE, BETTER, EQUAL, OPEN = "worse", "better", "equal", "open"
FASTER, SLOWER, LEVEL = "faster", "slower", "level"


@dataclass(frozen=True)
class Cost:
    """Top-1 of a sparse model against another one, in ``cases`` in which it is the same.

    ``dense``, ``other``, ``pruned`` and ``sparse`` are percent; ``drop`` from ``low`` to ``high``
    are points that the sparse model has less than the other, which is the control if ``fair``.
    ``needed`` is about how many images would show such a difference, None if there is none. Of
    several ``seeds`` all are means, paired by seed.
    """

    model: Model
    cases: tuple[str, ...]
    images: int
    dense: float
    other: float
    pruned: float
    sparse: float
    drop: float
    low: float
    high: float
    only_other: int
    only_this: int
    p: float
    fair: bool
    needed: int | None
    seeds: int

    @property
    def finding(self) -> str:
        """WORSE or BETTER, or EQUAL if less than SMALL can be hidden, or OPEN."""
        if self.p < 1 - statistics.CONFIDENCE:
            return WORSE if self.drop > 0 else BETTER
        return EQUAL if self.high <= SMALL else OPEN


@dataclass(frozen=True)
class Speed:
    """A sparse model against the dense one in a case: ``ratio`` of img/s, its interval, the noise.

    ``kernels`` says whether the backend may use kernels that skip zeros, ``alone`` is the ratio of
    a GPU's time without copies, None where it is not known.
    """

    model: Model
    case: str
    batch_size: int
    ratio: float
    low: float
    high: float
    noise: tuple[float, float]
    p: float
    kernels: bool
    alone: float | None

    @property
    def finding(self) -> str:
        """FASTER or SLOWER where that is outside of the noise and of chance, else LEVEL."""
        return _finding(self.ratio, self.p, self.noise)


def _finding(ratio: float, p: float, noise: tuple[float, float]) -> str:
    if p < 1 - statistics.CONFIDENCE:
        if ratio > max(noise[1], 1 + NOISE):
            return FASTER
        if ratio < min(noise[0], 1 - NOISE):
            return SLOWER
    return LEVEL


@dataclass(frozen=True)
class Change:
    """Points of top-1 less than in fp32, from ``low`` to ``high``, and the p value of no change."""

    drop: float
    low: float
    high: float
    p: float

    @property
    def told(self) -> bool:
        """Whether it is more than chance."""
        return self.p < 1 - statistics.CONFIDENCE


@dataclass(frozen=True)
class Quantised:
    """A model in int8 in one backend: its top-1, and its ratios of img/s to dense fp32 ones.

    It is the twin that learnt to be rounded, where there is one.
    ``alone`` is against the same model in fp32, ``both`` against the dense one (the control, if
    ``fair``) in fp32. ``ratios`` are (ratio, FASTER, SLOWER or LEVEL) for each batch size; there
    are none where fp32 was not measured.
    """

    model: Model
    case: str
    images: int
    top1: float
    alone: Change
    both: Change
    fair: bool
    ratios: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Choice:
    """What to deploy on this machine: the fastest that costs no more than SMALL for certain.

    That is the sparse model only where it is faster than the dense one in the same case.
    """

    model: Model
    case: str
    batch_size: int
    top1: float
    img_s: float


@dataclass(frozen=True)
class Rival:
    """A rival against the dense model in the case in which it is fastest.

    ``ratio`` of img/s, a ``finding``, and ``drop`` points of top-1 less, from ``low`` to ``high``.
    """

    model: Model
    case: str
    batch_size: int
    ratio: float
    finding: str
    drop: float
    low: float
    high: float


@dataclass(frozen=True)
class Busy:
    """Signs that something else ran on the machine: how many of the ``cases`` show each.

    ``spread`` is the largest ratio of the dense model's speed to its own that its interval leaves
    open. ``slowed`` is what slowed the GPU down in some of the measurements.
    """

    cases: int
    unsteady: int
    spread: float
    tails: int
    from_files: int
    slowed: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether any of them is there, other than a GPU that slowed itself down."""
        return bool(self.unsteady or self.tails or self.from_files)


@dataclass(frozen=True)
class Fastest:
    """The case in which one of dense and sparse models has most img/s, and both of them there."""

    case: str
    batch_size: int
    dense: float
    sparse: float


@dataclass(frozen=True)
class Outcome:
    """All of it. ``given`` is the file of a dense network that was not trained in this run."""

    costs: Sequence[Cost]
    speeds: Sequence[Speed]
    busy: Busy
    fastest: Fastest
    given: str | None
    several: bool  # branches
    quantised: Sequence[Quantised] = ()
    choice: Choice | None = None  # if there are quantised models or rivals
    rivals: Sequence[Rival] = ()


def read(whole: Table) -> Outcome:
    """What a table says; of several seeds, about their means."""
    table = compare.over_seeds(whole)
    seeds = len({model.seed for model in whole.models})
    (dense,) = of_kind(table.models, DENSE)
    sparse = of_kind(table.models, SPARSE)
    twins, rivals = (of_kind(table.models, kind) for kind in (QAT, RIVAL))
    claims = [*sparse, *(model for model in twins if model.twin_of_sparse)]
    speeds = [speed for model in claims for speed in speeds_of(table, model)]
    rounded = twins or [dense, *sparse]
    quantised = [found for model in rounded for found in _quantised(table, model)]
    return Outcome(
        [cost for model in sparse for cost in _costs(table, model, seeds)],
        speeds,
        busy_signs(table),
        _fastest(table),
        dense.file if dense.made == GIVEN else None,
        len(sparse) > 1,
        quantised,
        _choice(table, [dense, *sparse, *twins, *rivals], speeds) if quantised or rivals else None,
        [_rival(table, model) for model in rivals],
    )


def _rival(table: Table, model: Model) -> Rival:
    rows = table.frame[table.frame["model"] == model.name]
    row = rows.loc[rows["throughput_img_s"].idxmax()]
    noise = (float(row["noise_low"]), float(row["noise_high"]))
    return Rival(
        model=model,
        case=f"{row['backend']} {row['precision']}",
        batch_size=int(row["batch_size"]),
        ratio=float(row["speedup"]),
        finding=_finding(float(row["speedup"]), float(row["speedup_p_holm"]), noise),
        drop=float(row["top1_drop"]),
        low=float(row["drop_low"]),
        high=float(row["drop_high"]),
    )


def _quantised(table: Table, model: Model) -> list[Quantised]:
    rows = table.frame[(table.frame["model"] == model.name) & (table.frame["precision"] == INT8)]
    found = []
    for backend, group in rows.groupby("backend", sort=False):
        row = group.iloc[0]
        ratios = [(r, gain) for name, _, r, gain in int8_ratios(table, model) if name == backend]
        found.append(
            Quantised(
                model=model,
                case=f"{backend} {INT8}",
                images=int(row["images"]),
                top1=float(row["top1"]),
                alone=_change(row, "int8_drop"),
                both=_change(row, "both_drop"),
                fair=bool(of_kind(table.models, CONTROL)),
                ratios=tuple(ratios),
            )
        )
    return found


def int8_ratios(table: Table, model: Model) -> list[tuple[str, int, float, str]]:
    """A model's ratios in int8 to the dense one in fp32: (backend, batch size, ratio, finding)."""
    rows = table.frame[(table.frame["model"] == model.name) & (table.frame["precision"] == INT8)]
    measured = rows[rows["fp32_speedup"].notna()]
    return [
        (str(r["backend"]), int(r["batch_size"]), float(r["fp32_speedup"]), _gain(r))
        for _, r in measured.iterrows()
    ]


def _gain(row: pd.Series) -> str:
    noise = (float(row["noise_low"]), float(row["noise_high"]))
    return _finding(float(row["fp32_speedup"]), float(row["fp32_speedup_p_holm"]), noise)


def _change(row: pd.Series, drop: str) -> Change:
    low, high, p = (float(row[name]) for name in compare.DROPS[drop])
    return Change(float(row[drop]), low, high, p)


def _choice(table: Table, models: Sequence[Model], speeds: Sequence[Speed]) -> Choice:
    frame = table.frame[table.frame["model"].isin(model.name for model in models)]
    # In fp32 it is against the dense model in the same case, in int8 against fp32.
    whole = frame["precision"] == INT8
    drop = frame["both_drop"].where(whole, frame["top1_drop"])
    p = frame["both_drop_p"].where(whole, frame["drop_p"])
    bad = (drop > SMALL) & (p < 1 - statistics.CONFIDENCE)
    gains = {(s.model.name, s.case, s.batch_size) for s in speeds if s.finding == FASTER}
    cases = frame["backend"] + " " + frame["precision"]
    keys = list(zip(frame["model"], cases, frame["batch_size"]))
    pruned = {model.name for model in models if model.promise is not None}
    idle = np.array([key[0] in pruned and key not in gains for key in keys])
    fitting = frame[~bad.to_numpy() & ~idle]
    best = (fitting if len(fitting) else frame).sort_values("throughput_img_s").iloc[-1]
    return Choice(
        model=next(model for model in models if model.name == best["model"]),
        case=f"{best['backend']} {best['precision']}",
        batch_size=int(best["batch_size"]),
        top1=float(best["top1"]),
        img_s=float(best["throughput_img_s"]),
    )


def _costs(table: Table, model: Model, seeds: int) -> list[Cost]:
    found: dict[Cost, list[str]] = {}
    accuracy = table.frame.drop_duplicates(["model", "backend", "precision"])
    if (accuracy["precision"] != INT8).any():  # quantised models have a sentence of their own
        accuracy = accuracy[accuracy["precision"] != INT8]
    fair = bool(of_kind(table.models, CONTROL))
    for (backend, precision), group in accuracy.groupby(["backend", "precision"], sort=False):
        rows = group.set_index("model")
        row, images = rows.loc[model.name], int(rows.loc[model.name, "images"])
        lost, gained = int(row["only_other"]), int(row["only_this"])
        cost = Cost(
            model=model,
            cases=(),
            images=images,
            dense=float(rows.loc[DENSE, "top1"]),
            other=float(rows.loc[row["drop_against"], "top1"]),
            pruned=float(rows.loc[table.parent(model.name), "top1"]),
            sparse=float(row["top1"]),
            drop=float(row["top1_drop"]),
            low=float(row["drop_low"]),
            high=float(row["drop_high"]),
            only_other=lost,
            only_this=gained,
            p=float(row["drop_p"]),
            fair=fair,
            needed=None
            if seeds > 1
            else statistics.Difference(images, lost, gained, 0, 0, 0).needed,
            seeds=seeds,
        )
        found.setdefault(cost, []).append(f"{backend} {precision}")
    return [replace(cost, cases=tuple(cases)) for cost, cases in found.items()]


def speeds_of(table: Table, model: Model) -> list[Speed]:
    """A model against the dense one in every case."""
    rows = table.frame[table.frame["model"] == model.name]
    return [
        Speed(
            model=model,
            case=f"{row['backend']} {row['precision']}",
            batch_size=int(row["batch_size"]),
            ratio=float(row["speedup"]),
            low=float(row["speedup_low"]),
            high=float(row["speedup_high"]),
            noise=(float(row["noise_low"]), float(row["noise_high"])),
            p=float(row["speedup_p_holm"]),
            kernels=bool(row["sparse_kernels"]),
            alone=None if pd.isna(row["device_speedup"]) else float(row["device_speedup"]),
        )
        for _, row in rows.iterrows()
    ]


def busy_signs(table: Table) -> Busy:
    """Signs that something else ran on the machine, in a table."""
    dense = table.of_kind(DENSE)
    spread = np.maximum(dense["noise_high"], 1 / dense["noise_low"])
    tails = dense["latency_p99_ms"] > TAIL * dense["latency_p50_ms"]
    slowed = table.frame["gpu_slowed"].dropna()
    files = dense["end_to_end_img_s"] > FASTER_FROM_FILES * dense["throughput_img_s"]
    return Busy(
        len(dense),
        int((spread > SPREAD).sum()),
        float(spread.max()),
        int(tails.sum()),
        int(files.sum()),
        tuple(sorted({name for text in slowed for name in text.split(", ")})),
    )


def _fastest(table: Table) -> Fastest:
    kinds = pd.concat([table.of_kind(DENSE), table.of_kind(SPARSE)])
    best = kinds.loc[kinds["throughput_img_s"].idxmax()]
    same = kinds[(kinds[CASE] == best[CASE]).all(axis=1)]
    dense = same[same["model"] == DENSE]["throughput_img_s"].iloc[0]
    sparse = same[same["model"] != DENSE]["throughput_img_s"].max()
    case = f"{best['backend']} {best['precision']}"
    return Fastest(case, int(best["batch_size"]), float(dense), float(sparse))
