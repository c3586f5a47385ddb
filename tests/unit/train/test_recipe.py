import math
from dataclasses import replace

from twofour import config
from twofour.train import recipe

import pytest

TRAIN = config.validated({"train": {"batch_size": 512, "epochs": 90}}).train


def test_linear_scaling():
    assert recipe.peak_learning_rate(TRAIN) == pytest.approx(0.512)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (25, 0.512 * 0.5),
        (50, 0.512),
        (475, 0.512 * 0.5),  # half of the cosine
        (900, 0.0),
        (687.5, 0.512 * 0.5 * (1 + math.cos(math.pi * 0.75))),
    ],
)
def test_schedule(step, expected):
    assert recipe.learning_rate(step, 10, TRAIN) == pytest.approx(expected, abs=1e-12)


def test_no_warmup_starts_at_the_peak():
    assert recipe.learning_rate(0, 10, replace(TRAIN, warmup_epochs=0)) == pytest.approx(0.512)
