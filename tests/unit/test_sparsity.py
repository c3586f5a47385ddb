import numpy as np
import pytest
from twofour import architecture, config, sparsity
from twofour.errors import TwoFourError

RNG = np.random.default_rng(0)


def plain_check(weight):
    """2:4 along the input channels, by loops."""
    w = weight if weight.ndim == 4 else weight.T[:, :, None, None]
    for o in range(w.shape[0]):
        for r in range(w.shape[2]):
            for s in range(w.shape[3]):
                for c in range(0, w.shape[1], 4):
                    if np.count_nonzero(w[o, c : c + 4, r, s]) > 2:
                        return False
    return True


@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (4, 8, 1, 1), (16, 6)])
def test_paddles_mask_keeps_the_two_largest_of_four(shape):
    weight = RNG.standard_normal(shape).astype("float32")
    pruned, masks = sparsity.prune({"w": weight}, ["w"], "mask_1d")
    assert plain_check(pruned["w"])
    assert sparsity.holds(pruned["w"])
    assert masks["w"].shape == shape
    rows = np.sort(np.abs(sparsity.groups(weight)), axis=1)
    assert np.abs(pruned["w"]).sum() == pytest.approx(rows[:, 2:].sum(), rel=1e-6)


def test_checker_sees_one_broken_group():
    weight = sparsity.prune(
        {"w": RNG.standard_normal((8, 8, 3, 3)).astype("float32")}, ["w"], "mask_1d"
    )[0]["w"]
    weight[3, 4:8, 1, 2] = 1
    assert not plain_check(weight)
    with pytest.raises(TwoFourError, match=r"w in here is not 2:4 sparse: 1 of 144"):
        sparsity.require({"w": weight}, ["w"], "here")


def test_checker_looks_along_input_channels_only():
    weight = np.zeros((4, 4, 1, 1), "float32")
    weight[:, 0] = 1  # dense along the outputs, sparse along the inputs
    assert sparsity.holds(weight)
    assert not sparsity.holds(np.moveaxis(weight, 0, 1))


def test_stem_and_classifier_are_excluded_by_full_name():
    network = architecture.resnet(config.validated({"model": {"input_channels": 4}})["model"], 1000)
    chosen = sparsity.choose(network.weights, ["stem.conv.weight", "classifier.weight"])
    assert len(chosen) == 52
    one = sparsity.choose(network.weights, ["layer1.0.conv1.weight"])
    assert set(network.weights) - set(one) == {"layer1.0.conv1.weight"}


def test_only_registered_names_are_pruned():
    both = {
        n: RNG.standard_normal((4, 8)).astype("float32") for n in ("conv2d_1.w_0", "conv2d_10.w_0")
    }
    pruned, masks = sparsity.prune(both, ["conv2d_1.w_0"], "mask_1d")
    assert list(masks) == ["conv2d_1.w_0"]
    assert (pruned["conv2d_10.w_0"] == both["conv2d_10.w_0"]).all()


def test_missing_layer_stops():
    with pytest.raises(TwoFourError, match="has no weight w"):
        sparsity.require({}, ["w"], "here")


def test_report_and_density():
    weight = RNG.standard_normal((4, 8, 1, 1)).astype("float32")
    pruned, _ = sparsity.prune({"a": weight, "b": weight}, ["a"], "mask_1d")
    report = sparsity.report(pruned, ["b"], before={"a": weight, "b": weight})
    a, b = report["layers"]
    assert (a["sparse"], a["density"], b["sparse"], b["density"]) == (True, 0.5, False, 1.0)
    assert 0.5 < a["kept_magnitude"] < 1 == b["kept_magnitude"]
    assert report["total"]["density"] == 0.5
