"""Whether a difference is real: intervals and tests, by SciPy.

Accuracies are shares of images, so their differences are of matched pairs: the same images, judged
by two models. Speeds are measured in rounds, in each of which all models take a turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

CONFIDENCE = 0.95
POWER = 0.8  # with which a number of images would show a difference
RESAMPLES = 2000


# Loaded where they are needed: the first takes half a second, the second a third of that.
def _stats() -> ModuleType:
    from scipy import stats

    return stats


def _special() -> ModuleType:
    from scipy import special

    return special


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of a share, in percent.

    E. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", J. Am. Stat.
    Assoc. 22 (1927).
    """
    interval = _stats().binomtest(right, images).proportion_ci(CONFIDENCE, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


@dataclass(frozen=True)
class Difference:
    """Two models on the same ``images``, in points of top-1 that the second has more.

    ``first`` and ``second`` count the images that only one of them has right; ``low`` to ``high``
    is the 95 % interval, ``p`` the mid-p value of the exact McNemar test.
    """

    images: int
    first: int
    second: int
    low: float
    high: float
    p: float

    @property
    def points(self) -> float:
        """The difference itself."""
        return 100 * (self.second - self.first) / self.images

    @property
    def real(self) -> bool:
        """Whether it is more than chance would give in one of twenty cases."""
        return self.p < 1 - CONFIDENCE

    @property
    def needed(self) -> int | None:
        """About how many such images would show it, in four of five cases; None if there is none.

        R. Connor, "Sample size for testing differences in proportions for the paired-sample
        design", Biometrics 43 (1987), with the shares found here.
        """
        if self.first == self.second:
            return None
        apart = (self.first + self.second) / self.images
        moved = abs(self.second - self.first) / self.images
        z_test, z_power = _special().ndtri(((1 + CONFIDENCE) / 2, POWER)).tolist()
        root = z_test * math.sqrt(apart) + z_power * math.sqrt(apart - moved**2)
        return math.ceil((root / moved) ** 2)


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Of two models, each [images] bool: whether it has the image right.

    The interval is that of D. Bonett, R. Price, "Adjusted Wald confidence interval for a difference
    of binomial proportions based on paired data", J. Educ. Behav. Stat. 37 (2012), eq. 4, which M.
    Fagerland et al., "Recommended tests and confidence intervals for paired binomial proportions",
    Stat. Med. 33 (2014), recommend.
    """
    images = len(first)
    lost, gained = int((first & ~second).sum()), int((~first & second).sum())
    low, high = _paired_interval(lost, gained, images)
    return Difference(images, lost, gained, low, high, mid_p(lost, gained))


def _paired_interval(lost: int, gained: int, images: int) -> tuple[float, float]:
    worse, better = (lost + 1) / (images + 2), (gained + 1) / (images + 2)
    middle = better - worse
    error = math.sqrt((worse + better - middle**2) / (images + 2))
    reach = float(_special().ndtri((1 + CONFIDENCE) / 2)) * error
    return 100 * max(-1.0, middle - reach), 100 * min(1.0, middle + reach)


def mid_p(first: int, second: int) -> float:
    """Two-sided mid-p value of the exact McNemar test, of the images only one or the other has.

    M. Fagerland et al., "The McNemar test for binary matched-pairs data: mid-p and asymptotic are
    better than exact conditional", BMC Medical Research Methodology 13 (2013).
    """
    count, least = first + second, min(first, second)
    if count == 0:
        return 1.0
    binomial = _special().bdtr  # the distribution function
    below = binomial(least - 1, count, 0.5) if least else 0.0
    return float(min(1.0, binomial(least, count, 0.5) + below))


def holm(values: Sequence[float]) -> list[float]:
    """p values, corrected for their number.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6 (1979).
    """
    order = np.argsort(values)
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def ratio_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the ratio of two medians, each over the same [rounds]."""
    if len(first) < 2 or np.ptp(first) == np.ptp(second) == 0:
        value = float(np.median(first) / np.median(second))
        return value, value

    def ratio(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.median(x, axis=axis) / np.median(y, axis=axis)

    stats = _stats()
    found = stats.bootstrap(
        (first, second),
        ratio,
        paired=True,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=0,
    ).confidence_interval
    return float(found.low), float(found.high)


def ratio_p(ratios: np.ndarray) -> float:
    """p value that ``ratios`` [rounds] are 1 on average: Student's t test of their logarithms."""
    logs = np.log(ratios)
    if len(logs) < 2:
        return 1.0
    if np.ptp(logs) == 0:
        return 1.0 if logs[0] == 0 else 0.0
    return float(_stats().ttest_1samp(logs, 0.0).pvalue)


def over_seeds(
    drops: np.ndarray, reach: np.ndarray, images: int
) -> tuple[float, float, float, float]:
    """Mean of ``drops`` [seeds], its 95 % interval, and the p value that it is 0.

    ``reach`` [seeds] is half the width of each drop's own interval. Both seeds and images are
    samples: the variance of the mean is that between the seeds, over their number, plus that of
    the images, which all seeds share; with degrees of freedom by B. Welch, "The generalization of
    Student's problem", Biometrika 34 (1947).
    """
    count, mean = len(drops), float(drops.mean())
    between = float(drops.var(ddof=1)) / count
    within = float((reach / _special().ndtri((1 + CONFIDENCE) / 2)).mean()) ** 2
    total = between + within
    freedom = total**2 / (between**2 / (count - 1) + within**2 / (images - 1))
    error = math.sqrt(total)
    half = float(_stats().t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p = 2 * float(_stats().t.sf(abs(mean) / error, freedom))
    return mean, mean - half, mean + half, p


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """How far confidence and accuracy are apart on average, in points.

    ``confidence`` [n] are probabilities of the first class, ``right`` [n] whether it is the true
    one. C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    return 100 * sum(
        share * abs(sure - hit) for _, share, sure, hit in reliability(confidence, right, bins)
    )


def reliability(
    confidence: np.ndarray, right: np.ndarray, bins: int = 15
) -> list[tuple[float, float, float, float]]:
    """(middle, share of the images, mean confidence, accuracy) of each bin that has images."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = []
    for number in np.unique(place).tolist():
        inside = place == number
        share = float(inside.mean())
        sure, hit = float(confidence[inside].mean()), float(right[inside].mean())
        found.append(((number + 0.5) / bins, share, sure, hit))
    return found
