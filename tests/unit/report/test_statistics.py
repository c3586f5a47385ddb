"""Intervals and tests against SciPy's own, published values, or simulation."""

from twofour.report import statistics

import numpy as np
import pytest
from scipy import stats


def test_interval_of_a_share():
    """R. Newcombe, "Two-sided confidence intervals for the single proportion", table I."""
    assert statistics.wilson(81, 263) == pytest.approx((25.53, 36.62), abs=0.005)
    assert statistics.wilson(0, 20) == pytest.approx((0.0, 16.11), abs=0.005)
    assert statistics.wilson(20, 20)[1] == pytest.approx(100)


@pytest.mark.parametrize(("first", "second"), [(3, 3), (1, 9), (10, 2), (0, 6)])
def test_mid_p_is_the_exact_p_less_half_of_what_was_found(first, second):
    count = first + second
    exact = stats.binomtest(first, count).pvalue
    expected = exact - stats.binom.pmf(first, count, 0.5) if first != second else 1.0
    assert statistics.mid_p(first, second) == pytest.approx(expected)
    assert statistics.mid_p(first, second) == statistics.mid_p(second, first)


def test_no_image_apart_is_no_difference():
    same = np.array([True, False, True])
    found = statistics.difference(same, same)
    assert (found.p, found.points, found.needed, found.real) == (1.0, 0.0, None, False)
    assert found.low < 0 < found.high


def pairs(rng, images, lost, gained):
    """Whether each model has each image right; 0.7 of the images both have."""
    kind = rng.choice(4, images, p=[lost, gained, 0.7, 0.3 - lost - gained])
    return (kind == 0) | (kind == 2), (kind == 1) | (kind == 2)


def test_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(1500):
        found = statistics.difference(*pairs(rng, 300, 0.05, 0.03))
        inside.append(found.low <= -2.0 <= found.high)
    assert 0.935 < np.mean(inside) < 0.98


def test_as_many_images_as_are_said_to_be_needed_show_the_difference():
    found = statistics.Difference(1000, 60, 30, 0, 0, 0)
    rng = np.random.default_rng(2)
    real = [statistics.difference(*pairs(rng, found.needed, 0.06, 0.03)).real for _ in range(600)]
    assert 0.75 < np.mean(real) < 0.86


def test_holm_corrects_step_by_step_and_keeps_the_order():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_a_steady_ratio_is_real_and_a_scattered_one_is_not():
    steady, scattered = np.array([1.19, 1.21, 1.2, 1.2, 1.22]), np.array([0.8, 1.9, 1.3, 0.7, 1.4])
    assert statistics.ratio_p(steady) < 1e-4 < 0.3 < statistics.ratio_p(scattered)
    assert statistics.ratio_p(np.ones(5)) == 1.0 and statistics.ratio_p(np.full(5, 1.1)) == 0.0


def test_interval_of_a_ratio_holds_the_ratio_itself_and_narrows_with_steadier_rounds():
    rng, widths = np.random.default_rng(4), {}
    for spread in (0.01, 0.1):
        for _ in range(100):
            base, rates = np.exp(rng.normal(0, spread, (2, 5))) * [[100], [120]]
            low, high = statistics.ratio_interval(rates, base)
            assert low <= np.median(rates) / np.median(base) <= high
            widths.setdefault(spread, []).append(high - low)
    assert np.median(widths[0.01]) < 0.2 * np.median(widths[0.1])
    assert statistics.ratio_interval(np.full(5, 2.0), np.ones(5)) == (2.0, 2.0)


def test_false_claims_of_speed_are_as_rare_as_they_should_be():
    rng = np.random.default_rng(3)
    claims = [statistics.ratio_p(np.exp(rng.normal(0, 0.05, 5))) < 0.05 for _ in range(2000)]
    assert 0.035 < np.mean(claims) < 0.065


def test_calibration_of_a_network_that_is_always_too_sure():
    sure, right = np.full(100, 0.9), np.arange(100) < 60
    assert statistics.expected_calibration_error(sure, right) == pytest.approx(30)
    ((middle, share, confidence, accuracy),) = statistics.reliability(sure, right)
    assert (share, confidence, accuracy) == pytest.approx((1, 0.9, 0.6)) and 0.86 < middle < 0.94
    mixed = np.array([0.2, 0.2, 0.8, 0.8, 0.8, 0.8, 0.8])
    hits = np.array([0, 0, 1, 1, 1, 1, 0], bool)
    assert statistics.expected_calibration_error(mixed, hits) == pytest.approx(100 * 2 / 7 * 0.2)


@pytest.mark.parametrize(("between", "seeds"), [(0.0, 3), (0.4, 3), (1.0, 5)])
def test_interval_over_seeds_holds_the_truth_as_often_as_it_says(between, seeds):
    """Drops of 2 points on average, between seeds and by the images that all of them share."""
    rng, inside, images = np.random.default_rng(5), [], 1000
    for _ in range(3000):
        shared = rng.normal(0, 0.5)
        drops = 2 + shared + rng.normal(0, between, seeds)
        _, low, high, _ = statistics.over_seeds(drops, np.full(seeds, 0.5 * 1.96), images)
        inside.append(low <= 2 <= high)
    assert 0.93 < np.mean(inside) <= 0.99


def test_equal_drops_of_all_seeds_are_no_more_certain_than_their_images():
    mean, low, high, p = statistics.over_seeds(np.full(3, 0.28), np.full(3, 0.9), 352)
    assert (mean, low, high) == pytest.approx((0.28, -0.62, 1.18), abs=0.01) and p > 0.5
