from twofour import config
from twofour.network import architecture
from twofour.sparse import layers, pattern, prune
from twofour.system.errors import TwoFourError

import numpy as np
import pytest

RNG = np.random.default_rng(0)
ALL = ["*"]


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


def shapes(**model):
    return architecture.resnet(config.validated({"model": model}).model, 1000).weights


def test_checker_sees_one_broken_group():
    dense = {"w": RNG.standard_normal((8, 8, 3, 3)).astype("float32")}
    weight = prune.prune(dense, ["w"], "mask_1d")[0]["w"]
    assert plain_check(weight) and pattern.holds(weight)
    weight[3, 4:8, 1, 2] = 1
    assert not plain_check(weight)
    with pytest.raises(TwoFourError, match=r"w in here is not 2:4 sparse: 1 of 144"):
        pattern.require({"w": weight}, ["w"], "here")


def test_checker_looks_along_input_channels_only():
    weight = np.zeros((4, 4, 1, 1), "float32")
    weight[:, 0] = 1  # dense along the outputs, sparse along the inputs
    assert pattern.holds(weight)
    assert not pattern.holds(np.moveaxis(weight, 0, 1))


def test_defaults_leave_stem_and_classifier_dense():
    defaults = config.validated({}).sparsity
    choices = layers.choose(shapes(input_channels=4), defaults.include, defaults.exclude)
    assert len(layers.chosen(choices)) == 52
    assert choices["stem.conv.weight"].reason == "sparsity.exclude names stem.conv.weight"


def test_exact_names_are_exact():
    choices = layers.choose(shapes(), ALL, ["layer1.0.conv1.weight"])
    dense = [name for name, choice in choices.items() if not choice.sparse]
    assert dense == ["stem.conv.weight", "layer1.0.conv1.weight"]


def test_patterns_and_reasons():
    choices = layers.choose(shapes(), ["layer[34].*"], ["*.shortcut.*"])
    assert choices["layer3.0.conv2.weight"] == layers.Choice(
        True, "2:4 along its 256 input channels"
    )
    assert choices["layer3.0.shortcut.conv.weight"].reason == "sparsity.exclude names *.shortcut.*"
    assert "sparsity.include" in choices["layer1.0.conv2.weight"].reason
    assert choices["stem.conv.weight"].reason == "its 3 input channels are not a multiple of 4"
    assert len(layers.chosen(choices)) == 6 * 3 + 3 * 3


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_an_error(key):
    with pytest.raises(TwoFourError, match=rf"sparsity.{key}: resnet50 has no weight 'layer5\.\*'"):
        config.validated({"sparsity": {key: ["layer5.*"]}})


def test_missing_layer_stops():
    with pytest.raises(TwoFourError, match="has no weight w"):
        pattern.require({}, ["w"], "here")


def test_report_and_density():
    weight = RNG.standard_normal((4, 8, 1, 1)).astype("float32")
    dense = {"a": weight, "b": weight}
    pruned, _ = prune.prune(dense, ["a"], "mask_1d")
    choices = layers.choose({"a": weight.shape, "b": weight.shape}, ALL, ["b"])
    report = layers.report(pruned, choices, before=dense)
    a, b = report["layers"]
    assert (a["sparse"], a["density"], b["sparse"], b["density"]) == (True, 0.5, False, 1.0)
    assert 0.5 < a["kept_magnitude"] < 1 == b["kept_magnitude"]
    assert report["total"]["density"] == 0.5
    assert report["total"]["kept_magnitude"] == a["kept_magnitude"]
    assert layers.choices(report) == choices
