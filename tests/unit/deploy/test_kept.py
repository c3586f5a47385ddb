"""What was found of a build is taken over under its key alone, and losing it does no harm."""

from twofour.deploy import kept
from twofour.deploy.predicted import Predictions

import numpy as np
import pytest

FOUND = Predictions(np.array([[1, 0], [0, 1]], np.uint16), np.array([[0.7, 0.3]] * 2, np.float32))
RESULT = {"top1": 50.0, "loss": float("nan"), "agreement": {"largest_difference": 1e-7}}


def test_the_same_comes_back_under_its_key_and_nothing_under_another(tmp_path):
    path = tmp_path / "evaluated.npz"
    assert kept.read(path, "a") is None
    kept.write(path, "a", RESULT, FOUND)
    result, found = kept.read(path, "a")
    assert repr(result) == repr(RESULT)
    assert np.array_equal(found.labels, FOUND.labels) and found.labels.dtype == np.uint16
    assert np.array_equal(found.probabilities, FOUND.probabilities)
    assert kept.read(path, "b") is None
    kept.write(path, "b", RESULT, FOUND)
    assert kept.read(path, "a") is None


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_file_is_as_none(tmp_path, share):
    path = tmp_path / "evaluated.npz"
    kept.write(path, "a", RESULT, FOUND)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert kept.read(path, "a") is None


def test_where_nothing_can_be_kept_the_evaluation_goes_on(tmp_path):
    (tmp_path / "file").touch()
    kept.write(tmp_path / "file" / "evaluated.npz", "a", RESULT, FOUND)
