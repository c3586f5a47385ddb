from twofour.system.errors import TwoFourError
from twofour.train import metrics

import numpy as np
import pytest


def test_topk_against_sorting():
    rng = np.random.default_rng(0)
    p, labels = rng.random((200, 12)), rng.integers(0, 12, 200)
    for k in (1, 5):
        top = np.argsort(-p, axis=1, kind="stable")[:, :k]
        assert metrics.correct(p, labels, k) == sum(y in row for y, row in zip(labels, top))


def test_ties_go_to_the_lower_class_and_nan_is_wrong():
    p = np.full((3, 4), 0.25)
    assert metrics.correct(p, np.array([0, 1, 3]), 1) == 1
    assert metrics.correct(np.full((1, 4), np.nan), np.array([0]), 5) == 0


def test_each_image_exactly_once():
    tally = metrics.Tally(np.array([0, 1, 1]))
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    tally.add(p[:2], np.array([0, 1]))
    with pytest.raises(TwoFourError, match="not exact: 1 of 3"):
        tally.result()
    tally.add(p[2:], np.array([2]))
    result = tally.result()
    assert result["images"] == 3
    assert result["top1"] == pytest.approx(200 / 3)
    assert result["top5"] == 100
    assert result["loss"] == pytest.approx(-np.log([0.9, 0.1, 0.8]).mean())
    tally.add(p[2:], np.array([2]))
    with pytest.raises(TwoFourError, match="not exact"):
        tally.result()
