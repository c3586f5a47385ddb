"""Ranges of activations by each algorithm, against plain definitions of what they search for."""

from twofour.quantization import ranges

import numpy as np
import pytest
from scipy import stats


def batches(values, parts=4):
    pieces = np.array_split(values, parts)
    return lambda: ({"x": piece} for piece in pieces)


def normal(count=20_000, outliers=0):
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal(count), np.full(outliers, 40.0)])


def test_minmax_is_the_largest_magnitude_in_one_pass():
    calls = []

    def once():
        calls.append(1)
        return iter([{"x": np.array([1.0, -3.0])}, {"x": np.array([2.0])}])

    assert ranges.find(once) == {"x": 3.0} and len(calls) == 1


@pytest.mark.parametrize("percentile", [90, 99, 99.9])
def test_percentile_is_that_of_the_magnitudes(percentile):
    values = normal()
    found = ranges.find(batches(values), "percentile", percentile)["x"]
    assert found == pytest.approx(np.percentile(np.abs(values), percentile), rel=0.02)


def squared_error(values, limit):
    scale = limit / 127
    return float(((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2).mean())


@pytest.mark.parametrize("outliers", [0, 3, 200])
def test_mse_has_nearly_the_least_squared_error_of_all_limits(outliers):
    values = normal(outliers=outliers)
    found = ranges.find(batches(values), "mse")["x"]
    tried = np.abs(values).max() * np.linspace(0.05, 1, 200)
    least = min(squared_error(values, limit) for limit in tried)
    assert squared_error(values, found) <= 1.05 * least
    assert squared_error(values, found) <= squared_error(values, np.abs(values).max()) + 1e-12


def divergence(counts, size):
    """As the talk has it, bin by bin, with SciPy's entropy."""
    clipped = counts[:size].astype(float)
    clipped[-1] += counts[size:].sum()
    rounded = np.zeros(size)
    edges = [[i for i in range(size) if min(i * 127 // size, 126) == level] for level in range(127)]
    for bins in edges:
        filled = [i for i in bins if counts[i] > 0]
        for i in filled:
            rounded[i] = counts[bins].sum() / len(filled)
    p, q = clipped / clipped.sum(), rounded / rounded.sum()
    return float(stats.entropy(p, np.maximum(q, 1e-4 / size)))


def test_entropy_searches_for_the_least_divergence():
    values = np.maximum(normal(outliers=5), 0)  # as behind a ReLU
    top = values.max()
    found = ranges.find(batches(values), "entropy")["x"]
    counts = ranges.histogram(values, top)
    counts[0] = 0
    size = round(found / top * ranges.BINS)
    assert size < ranges.BINS / 4  # the outliers are cut off
    here = divergence(counts, size)
    for other in (128, 256, 1024, ranges.BINS, size - 8, size + 8):
        if other >= 128:
            assert here <= divergence(counts, other) + abs(here) * 0.05 + 1e-3, other


def test_searching_algorithms_keep_a_range_without_outliers():
    values = np.random.default_rng(0).uniform(-2, 2, 50_000)
    for algorithm in ("mse", "entropy"):
        assert ranges.find(batches(values), algorithm)["x"] > 1.9, algorithm


@pytest.mark.parametrize("algorithm", ranges.ALGORITHMS)
def test_a_tensor_of_zeros_has_no_range(algorithm):
    assert ranges.find(batches(np.zeros(10)), algorithm) == {"x": 0.0}
