"""The findings of a run in sentences: what sparsity cost, what it bought, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import QAT, RIVAL
from .outcome import (
    BETTER,
    EQUAL,
    FASTER,
    LEVEL,
    SLOWER,
    WORSE,
    Busy,
    Change,
    Cost,
    Outcome,
    Rival,
    Speed,
)


def verdict(outcome: Outcome) -> list[str]:
    """Two or three sentences: what it cost, what it bought, and the caveat if there is one."""
    costs = [_cost_words(cost, outcome) for cost in outcome.costs]
    noise = [busy_words(outcome.busy)] if outcome.busy.found else []
    if outcome.busy.slowed:
        noise.append(_slowed_words(outcome.busy))
    return [
        *costs,
        *_unfair_words(outcome),
        _speed_words(outcome),
        *_quantised_words(outcome),
        *(_rival_words(rival) for rival in outcome.rivals),
        *_choice_words(outcome),
        *noise,
    ]


def _quantised_words(outcome: Outcome) -> list[str]:
    """What int8 cost the dense model, and together with sparsity, and what it bought."""
    if not outcome.quantised:
        return []
    best = max(outcome.quantised, key=lambda q: max(q.ratios, default=(0.0, LEVEL))).case
    parts = []
    for one in outcome.quantised:
        if one.case != best:
            continue
        if one.model.promise is None:
            what, change, other = "dense", one.alone, "in fp32"
        else:
            by = f" ({one.model.branch})" if outcome.several and one.model.branch else ""
            what, change = f"sparse{by}", one.both
            other = f"the dense one{' trained as long' if one.fair else ''} in fp32"
        parts.append(f"the {what} model has {one.top1:.2f} %, {_change_words(change, other)}")
    how = ", learnt in training" if outcome.quantised[0].model.kind == QAT else ""
    first = f"In int8 ({best.split()[0]}{how}) {'; '.join(parts)}."
    ratios = [ratio for one in outcome.quantised for ratio in one.ratios]
    return [first, _int8_speed_words(ratios)] if ratios else [first]


def _int8_speed_words(ratios: Sequence[tuple[float, str]]) -> str:
    """At how many times the speed of the dense model in fp32 they ran."""
    gains = [ratio for ratio, finding in ratios if finding == FASTER]
    slower = [ratio for ratio, finding in ratios if finding == SLOWER]
    level = len(ratios) - len(gains) - len(slower)
    parts = []
    if gains:
        parts.append(f"ran at {reach(gains)} × the dense fp32 model's speed")
    if slower:
        parts.append(f"were slower, at {reach(slower)} ×, in {len(slower)} of {len(ratios)} cases")
    if level and parts:
        parts.append(f"showed no difference beyond the noise in {level} of {len(ratios)} cases")
    if not parts:
        return "They were not faster than in fp32 beyond the noise of the measurement."
    return f"They {listed(parts)}."


def _change_words(change: Change, other: str) -> str:
    if change.drop == 0 and not change.told:
        return f"as much as {other}"
    chance = "" if change.told else "; it may be chance"
    more = "less than" if change.drop > 0 else "more than"
    low, high = sorted((change.low, change.high))
    if change.drop < 0:
        low, high = -high, -low
    interval = f"95 % interval {_points(low)} to {_points(high)}"
    return f"{abs(change.drop):.2f} points {more} {other} ({interval}{chance})"


def _rival_words(rival: Rival) -> str:
    """How fast a rival is, and what it costs against the dense model."""
    speed = {
        FASTER: f"runs at {rival.ratio:.2f} × the dense model's speed",
        SLOWER: f"is slower than the dense model, at {rival.ratio:.2f} ×",
        LEVEL: "is not faster than the dense model beyond the noise",
    }[rival.finding]
    more = "less" if rival.drop > 0 else "more"
    low, high = (rival.low, rival.high) if rival.drop > 0 else (-rival.high, -rival.low)
    points = f"{abs(rival.drop):.2f} points of top-1 {more}" if rival.drop else "as much top-1"
    return (
        f"{rival.model.name} {speed} ({rival.case} at batch {rival.batch_size}) and has {points} "
        f"(95 % interval {_points(low)} to "
        f"{_points(high)})."
    )


def _choice_words(outcome: Outcome) -> list[str]:
    """Which of the models to deploy on this machine."""
    if outcome.choice is None:
        return []
    one = outcome.choice
    backend, precision = one.case.split()
    what = "dense" if one.model.promise is None else "sparse"
    if one.model.kind == QAT:
        what = f"quantisation-aware {what}"
    by = f" ({one.model.branch})" if outcome.several and one.model.branch else ""
    subject = f"the {what} model{by}"
    if one.model.kind == RIVAL:
        subject = f"the dense network {one.model.name}"
    return [
        f"To deploy here: {subject} in {precision} with {backend} ({one.top1:.2f} %, "
        f"{one.img_s:,.0f} img/s at batch {one.batch_size})."
    ]


def _unfair_words(outcome: Outcome) -> list[str]:
    """That the sparse network has trained longer, where there is no control."""
    found = []
    if not all(cost.fair for cost in outcome.costs):
        what = "trained twice as long as the dense one (dense.control: true trains that on, too)"
        if outcome.given:
            what = (
                f"been trained on, and the one in {outcome.given} was not (dense.control: true "
                "trains that on, too)"
            )
        found.append(f"This is not what sparsity alone costs: the sparse network has {what}.")
    return found


def details(outcome: Outcome) -> list[str]:
    """Further sentences: before retraining, single speeds, where what ran fastest."""
    found = []
    for cost in outcome.costs:
        by = f" by {cost.model.branch}" if cost.model.branch else ""
        found.append(
            f"Pruning alone{by} took top-1 from {cost.dense:.2f} % to {cost.pruned:.2f} %; "
            f"retraining brought it to {cost.sparse:.2f} % ({listed(cost.cases)})."
        )
    measured = [s for s in outcome.speeds if s.kernels]
    level = [s for s in measured if s.finding == LEVEL]
    if level and len(level) < len(measured):
        found.append(f"No difference beyond the noise in {listed([_case(s) for s in level])}.")
    blind = list(dict.fromkeys(s.case.split()[0] for s in outcome.speeds if not s.kernels))
    if blind:
        others = [s.ratio for s in outcome.speeds if not s.kernels]
        found.append(
            f"In {listed(blind)}, which {'runs' if len(blind) == 1 else 'run'} the same dense "
            f"kernels for both, the sparse model ran at {reach(others)} × of the dense one's "
            "speed: that is how much such figures vary."
        )
    fastest = outcome.fastest
    found.append(
        f"Fastest: {fastest.case} at batch {fastest.batch_size}, {fastest.dense:.0f} img/s dense "
        f"and {fastest.sparse:.0f} sparse."
    )
    return found


def _cost_words(cost: Cost, outcome: Outcome) -> str:
    by = f" by {cost.model.branch}" if outcome.several and cost.model.branch else ""
    where = "" if len(cost_cases(outcome)) <= len(cost.cases) else f" in {listed(cost.cases)}"
    other = "the dense model"
    if cost.fair:
        other = "a dense model trained as long"
    elif outcome.given:
        other = f"the dense network in {outcome.given}"
    figures = f"{cost.sparse:.2f} % (sparse) against {cost.other:.2f} % of {other}"
    interval = f"{_points(cost.low)} to {_points(cost.high)} points"
    images = f"{cost.images:,} validation images"
    if cost.seeds > 1:
        images = f"{cost.seeds} seeds and {images}"
    if cost.finding == WORSE:
        return (
            f"2:4 sparsity{by} cost {cost.drop:.2f} points of top-1{where}: {figures} (95 % "
            f"interval {interval}, {images})."
        )
    if cost.finding == BETTER:
        return (
            f"The 2:4 sparse model{by} is {-cost.drop:.2f} points of top-1 better{where}: "
            f"{figures} (95 % interval {_points(-cost.high)} to {_points(-cost.low)} points, "
            f"{images})."
        )
    if cost.finding == EQUAL:
        return (
            f"2:4 sparsity{by} cost no top-1 that {images} can show{where}: {figures}; at most "
            f"{max(cost.high, 0):.2f} points may be hidden (95 % interval)."
        )
    enough = (
        f"; about {_round(cost.needed)} validation images would show a difference of this size"
        if cost.needed
        else ""
    )
    return (
        f"Whether 2:4 sparsity{by} costs accuracy cannot be told from {images}{where}: {figures}, "
        f"and from {max(-cost.low, 0):.2f} points gained to {max(cost.high, 0):.2f} lost all is "
        f"possible (95 % interval){enough}."
    )


def cost_cases(outcome: Outcome) -> set[str]:
    """All cases in which accuracy was measured."""
    return {case for cost in outcome.costs for case in cost.cases}


def _speed_words(outcome: Outcome) -> str:
    measured = [speed for speed in outcome.speeds if speed.kernels]
    if not measured:
        return f"It bought no speed here and could not: {no_kernels(outcome.speeds)}."
    faster = [_case(speed) for speed in measured if speed.finding == FASTER]
    slower = [_case(speed) for speed in measured if speed.finding == SLOWER]
    parts = []
    if faster:
        parts.append(f"it was faster in {listed(faster)}")
    if slower:
        parts.append(f"{'and ' if faster else 'it was '}slower in {listed(slower)}")
    if not parts:
        ratios = [speed.ratio for speed in measured]
        cases = list(dict.fromkeys(speed.case for speed in measured))
        return (
            f"It bought no speed beyond the noise of the measurement in {listed(cases)} "
            f"({reach(ratios)} ×), which may use kernels that skip zeros."
        )
    text = " ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def no_kernels(speeds: Sequence[Speed]) -> str:
    """That the backends of these ``speeds`` cannot make use of zeros."""
    backends = list(dict.fromkeys(speed.case.split()[0] for speed in speeds))
    verb = "has" if len(backends) == 1 else "have"
    return (
        f"{listed(backends)} {verb} no kernels that skip zeros, which only NVIDIA's tensor cores "
        "run"
    )


def busy_words(busy: Busy, again: str = "-R benchmark") -> str:
    """By what it shows that other things ran on the machine, and what to do about it."""
    signs = []
    if busy.unsteady:
        signs.append(
            f"the dense model, measured twice, seemed {busy.spread:.1f} × as fast as itself"
        )
    if busy.tails:
        signs.append(
            f"in {busy.tails} of {busy.cases} cases the slowest batches took many times the median"
        )
    if busy.from_files:
        signs.append(
            f"in {busy.from_files} of {busy.cases} cases reading files cost less than nothing"
        )
    return (
        f"Speed was measured with much noise, as on a busy machine: {listed(signs)}. Repeat the "
        f"benchmark on a quiet one before believing small differences (snakemake {again}, with the "
        "same --configfile)."
    )


def _slowed_words(busy: Busy) -> str:
    return (
        f"The GPU ran slower than it can in some measurements ({listed(busy.slowed)}), which "
        "makes differences smaller or larger than they are; improve its cooling, or fix its clocks "
        "below that (nvidia-smi --lock-gpu-clocks), and repeat the benchmark."
    )


def _case(speed: Speed) -> str:
    """The case, the branch (if there are several) and the ratio."""
    by = f" by {speed.model.branch}" if speed.model.branch else ""
    alone = ""
    if speed.alone is not None:
        alone = f"; {speed.alone:.2f} × without the copies to and from the GPU"
    return f"{speed.case} at batch {speed.batch_size}{by} ({speed.ratio:.2f} ×{alone})"


def _points(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _round(count: int) -> str:
    """To two digits: it is an estimate."""
    scale = max(1, 10 ** (len(str(count)) - 2))
    return f"{round(count / scale) * scale:,}"


def reach(found: Sequence[float]) -> str:
    """From the lowest to the highest: "0.97 to 1.02"."""
    low, high = (f"{ratio:.2f}" for ratio in (min(found), max(found)))
    return low if low == high else f"{low} to {high}"


def listed(items: Sequence[str]) -> str:
    """Items as in a sentence: a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
