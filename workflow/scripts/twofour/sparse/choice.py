"""Which layers become sparse under a budget: the choice from what was measured.

The layers are put in one order, from the one that loses least for what it gains. Networks in which
the first of them are pruned, 1, 2, 3 …, are measured as a whole, since what layers lose together is
not the sum of what each loses alone. A budget then takes the longest such beginning that keeps to
it, so that another budget needs no new measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..network.architecture import Architecture
from ..system.errors import TwoFourError
from ..system.files import PathLike
from .layers import Choice
from .sensitivity import Result, Unit

POINTS = 24  # beginnings of the order that are measured, at most

UNITS = [
    *("unit", "kind", "gain", "gain_ms", "top1_drop_alone", "loss_rise_alone"),
    *("top1_drop_rest", "loss_rise_rest", "cost"),
]
PATH = ["layers", "added", "gain", "gain_ms", "top1", "top1_drop", "loss_rise"]


def order(costs: Mapping[str, float], gains: Mapping[str, float]) -> list[str]:
    """The layers from the least cost for its gain to the most; those that gain nothing come last.

    ``costs`` are rises of the loss, ``gains`` shares of the multiplications, or milliseconds where
    kernels have been timed.
    """

    def key(name: str) -> tuple:
        cost, gain = costs[name], gains[name]
        return (gain <= 0, cost / gain if gain > 0 else cost, -gain)

    return sorted(costs, key=key)


def points(count: int) -> list[int]:
    """How many layers are pruned in each network of the path: all numbers up to ``count``, or some.

    The last is ``count`` itself.
    """
    return sorted({round(p) for p in np.linspace(1, count, min(count, POINTS))})


def begin(ordered: Sequence[str], count: int) -> frozenset[str]:
    """The network in which the first ``count`` layers are pruned."""
    return frozenset(ordered[:count])


def table(
    units: Sequence[Unit],
    results: Mapping[frozenset[str], Result],
    chosen: Sequence[str],
    costs: Mapping[str, float],
    gains: Mapping[str, float],
    saved: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """sensitivity.csv: a row for each unit. Drops are in points of top-1, rises in nats.

    ``gain`` is in per cent of the network's multiplications, ``gain_ms`` in the milliseconds that
    were ``saved`` where kernels have been timed. ``…_alone`` is against the dense network if this
    unit alone is pruned; ``…_rest`` against it if all the others are.
    """
    dense, rows = results[frozenset()], []
    for unit in units:
        alone, rest = results[unit.alone()], results[unit.spared(chosen)]
        rows.append(
            {
                "unit": unit.name,
                "kind": unit.kind,
                "gain": sum(gains[name] for name in unit.weights),
                "gain_ms": _total(saved, unit.weights),
                "top1_drop_alone": dense.top1 - alone.top1,
                "loss_rise_alone": alone.mean_loss - dense.mean_loss,
                "top1_drop_rest": dense.top1 - rest.top1,
                "loss_rise_rest": rest.mean_loss - dense.mean_loss,
                "cost": costs.get(unit.name, np.nan),
            }
        )
    return pd.DataFrame(rows, columns=UNITS)


def path(
    ordered: Sequence[str],
    results: Mapping[frozenset[str], Result],
    gains: Mapping[str, float],
    saved: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """path.csv: the dense network, and each that was measured on the way to all layers pruned.

    ``added`` names the layers that are pruned here and not in the row above.
    """
    dense, rows, before = results[frozenset()], [], 0
    for count in [0, *points(len(ordered))]:
        found = results[begin(ordered, count)]
        rows.append(
            {
                "layers": count,
                "added": " ".join(ordered[before:count]),
                "gain": sum(gains[name] for name in ordered[:count]),
                "gain_ms": _total(saved, ordered[:count]),
                "top1": found.top1,
                "top1_drop": dense.top1 - found.top1,
                "loss_rise": found.mean_loss - dense.mean_loss,
            }
        )
        before = count
    return pd.DataFrame(rows, columns=PATH)


def _total(saved: Mapping[str, float] | None, names: Sequence[str]) -> float:
    return np.nan if saved is None else sum(saved[name] for name in names)


@dataclass(frozen=True)
class Chosen:
    """``layers`` of the path are pruned, in all ``of`` them, and cost ``drop`` points of top-1."""

    names: list[str]
    layers: int
    of: int
    drop: float
    gain: float
    gain_ms: float | None


def within(walked: pd.DataFrame, budget: float) -> Chosen:
    """The longest beginning of the path whose drop of top-1 is at most ``budget`` points.

    Raises TwoFourError if there is none.
    """
    fitting = walked[(walked.top1_drop <= budget + 1e-9) & (walked.layers > 0)]
    if fitting.empty:
        least = walked[walked.layers > 0].top1_drop.min()
        raise TwoFourError(
            f"sparsity.choose.max_top1_drop is {budget:g}, but even the least sensitive layers "
            f"cost {least:.2f} points of top-1 before retraining; raise it to "
            f"{math.ceil(100 * least) / 100:g} or more"
        )
    row = fitting.iloc[-1]
    names = [n for added in walked[walked.layers <= row.layers].added for n in added.split()]
    ms = None if pd.isna(row.gain_ms) else float(row.gain_ms)
    return Chosen(names, int(row.layers), int(walked.layers.max()), row.top1_drop, row.gain, ms)


def choices(
    before: Mapping[str, Choice], chosen: Chosen, walked: pd.DataFrame, budget: float
) -> dict[str, Choice]:
    """``before`` with the layers that are not among the ``chosen`` left dense, and the reasons."""
    place = {name: n for n, name in enumerate(" ".join(walked.added).split(), start=1)}
    result = {}
    for name, choice in before.items():
        if not choice.sparse:
            result[name] = choice
            continue
        told = f"number {place[name]} of {chosen.of} by what it costs for what it gains"
        if name in chosen.names:
            result[name] = Choice(True, f"{choice.reason}; {told}")
        else:
            first = f"sparsity.choose.max_top1_drop ({budget:g}) allows the first {chosen.layers}"
            result[name] = Choice(False, f"{told}; {first}")
    return result


def gains(network: Architecture, names: Sequence[str], work: Mapping[str, int]) -> dict[str, float]:
    """The share of the network's multiplications that 2:4 saves in each layer, in per cent."""
    total = sum(work[name] for name in network.weights)
    return {name: 100 * work[name] / 2 / total for name in names}


def read(file: PathLike, columns: Sequence[str]) -> pd.DataFrame:
    """One of the tables; TwoFourError if it is missing or another."""
    try:
        found = pd.read_csv(file, keep_default_na=True)
    except (OSError, ValueError) as error:
        raise TwoFourError(f"cannot read {file}: {error}") from error
    if list(found.columns) != list(columns):
        raise TwoFourError(f"{file} has other columns than {', '.join(columns)}")
    if "added" in columns:
        found["added"] = found["added"].fillna("")
    return found
