"""Throughput and latency of predictors, measured side by side.

The predictors take turns, round by round, so that other load on the machine affects all of them
alike; a difference between them is then due to the models and not to the timing. Each round begins
with another one, since the first turn of a round is a little slower than the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from ..data.lists import Split
from ..system.power import Meter, Record
from .backends import Predictor

ROUNDS = 10
READ_AHEAD = 3  # batches that a loader may have ready
PERCENTILES = (50, 90, 95, 99)


def synthetic(
    predictors: dict[str, Predictor],
    batch: np.ndarray,
    warmup: int,
    steps: int,
    meter: Meter | None = None,
) -> dict[str, dict]:
    """Time each predictor on the constant ``batch`` [N, C, H, W], input and output copies included.

    ``warmup`` batches run first, then ``steps`` batches in 10 rounds. Returns for each predictor
    throughput (img/s, the median of the rounds), those of the rounds, and latency (ms per batch);
    the same under ``device``, for the time of the device's computation alone, where it is known;
    and under ``power`` what the ``meter`` says of the turns (:meth:`..power.Record.summary`).
    """
    latencies: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    computing: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    power = {name: Record(meter) for name in predictors} if meter else {}
    for predict in predictors.values():
        for _ in range(warmup):
            predict(batch)
    for number, size in enumerate(_rounds(steps)):
        for name in _turns(list(predictors), number):
            predict = predictors[name]
            if power:
                power[name].begin()
            times = np.array([_seconds(predict, batch) for _ in range(size)])
            if power:
                power[name].end()
            latencies[name].append(times[:, 0])
            computing[name].append(times[:, 1])
    results = {name: _summary(len(batch), rounds) for name, rounds in latencies.items()}
    for name, predict in predictors.items():
        if hasattr(predict, "device_seconds"):
            results[name]["device"] = _summary(len(batch), computing[name])
        if power:
            results[name]["power"] = power[name].summary(steps * len(batch))
    return results


def end_to_end(
    predictors: dict[str, Predictor],
    batches: Callable[[], Iterator[np.ndarray]],
    steps: int,
) -> dict[str, dict]:
    """Time each predictor on batches from image files: reading, decoding, preparing, predicting.

    ``batches`` starts an endless iterator over batches. Reading runs ahead of the predictor, as it
    would in service; what was read while another predictor was running is used up before the
    clock starts. Returns for each predictor the throughput (img/s) of the rounds and their
    median.
    """
    streams = {name: batches() for name in predictors}
    rates: dict[str, list[float]] = {name: [] for name in predictors}
    for number, size in enumerate(_rounds(steps)):
        for name in _turns(list(predictors), number):
            predict = predictors[name]
            for _ in range(READ_AHEAD):
                predict(next(streams[name]))
            start = time.perf_counter()
            images = 0
            for _ in range(size):
                images += len(predict(next(streams[name])))
            rates[name].append(images / (time.perf_counter() - start))
    return {
        name: {"throughput_img_s": float(np.median(rate)), "rounds_img_s": rate}
        for name, rate in rates.items()
    }


def _seconds(predict: Predictor, batch: np.ndarray) -> tuple[float, float]:
    """How long a batch took, and how long of it the device computed (0 where that is unknown)."""
    start = time.perf_counter()
    predict(batch)
    return time.perf_counter() - start, getattr(predict, "device_seconds", 0.0)


def _rounds(steps: int) -> list[int]:
    """``steps`` shared out over the rounds as evenly as possible."""
    return [len(part) for part in np.array_split(np.arange(steps), min(ROUNDS, steps))]


def _turns(names: list[str], number: int) -> list[str]:
    """``names`` in the order of round ``number`` (from 0), in which another one begins."""
    first = number % len(names)
    return names[first:] + names[:first]


def _summary(images: int, rounds: list[np.ndarray]) -> dict:
    rates = [images * len(r) / float(r.sum()) for r in rounds]
    milliseconds = 1000 * np.concatenate(rounds)
    latency = {"mean": float(milliseconds.mean())}
    latency.update({f"p{p}": float(np.percentile(milliseconds, p)) for p in PERCENTILES})
    return {
        "throughput_img_s": float(np.median(rates)),
        "rounds_img_s": rates,
        "latency_ms": latency,
    }


def full_batches(images: Split, batch_size: int) -> Split:
    """``images`` in whole batches: a short list repeated, the remainder of a long one dropped."""
    count = len(images.paths)
    positions = np.arange(max(1, count // batch_size) * batch_size) % count
    paths = [images.paths[i] for i in positions]
    return Split(paths, images.labels[positions], images.orientations[positions])
