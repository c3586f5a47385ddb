"""What pruning costs: pieces of networks, their sets, the order of layers, and the choice."""

import itertools
import shutil

from twofour import config, stages
from twofour.network import architecture, pieces
from twofour.network.inference import Inference
from twofour.network.settings import Model
from twofour.quantization import observe, onnx_graph
from twofour.sparse import choice, inputs, layers, prune, sensitivity
from twofour.sparse.sensitivity import Notes, Result, Unit
from twofour.system.errors import TwoFourError

import numpy as np
import pandas as pd
import pytest
import quantised
from conftest import TINY, merged, program

SIZE = 32


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def network(request):
    """A network with weights as after a training, some images and labels."""
    blocks = [1, 2, 1, 1]
    built = architecture.resnet(Model(name=request.param, width=0.125, blocks=blocks), 5)
    state = quantised.state(built)
    images = quantised.images(12)
    return built, state, images, np.arange(12) % 5


def chain(built, state, x):
    for piece in pieces.split(built):
        x = pieces.runner(piece, state, 1)(x)
    return x


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_pieces_compute_the_network(network):
    built, state, images, _ = network
    names = [name for piece in pieces.split(built) for name in piece.weights]
    assert names == list(built.weights)
    expected = Inference(built, SIZE, "cpu").load(state)(images)
    assert np.abs(softmax(chain(built, state, images)) - expected).max() < 1e-5
    whole = onnx_graph.Graph(pieces.whole(built, state, SIZE))
    run = observe.runner(whole, [architecture.PROBABILITIES], 1)
    assert np.abs(run(images)[architecture.PROBABILITIES] - expected).max() < 1e-5
    layers_of_it = [node.name for node in whole.proto.node if node.op_type in ("Conv", "MatMul")]
    assert sorted(layers_of_it) == sorted(name.removesuffix(".weight") for name in names)


def test_norms_are_those_of_what_each_layer_reads(network):
    built, state, images, _ = network
    found = pieces.input_norms(built, state, [images[:8], images[8:]], 1)
    assert list(found) == list(built.weights)
    for name, shape in built.weights.items():
        assert found[name].shape == (shape[1] if len(shape) == 4 else shape[0],)
    expected = np.sqrt((images.astype(np.float64) ** 2).sum(axis=(0, 2, 3)))
    assert found["stem.conv.weight"] == pytest.approx(expected, rel=1e-5)
    # The classifier's are those of the features, which its weights turn into logits.
    start = pieces.split(built)[:-1]
    x = images
    for piece in start:
        x = pieces.runner(piece, state, 1)(x)
    features = x.mean(axis=(2, 3)).astype(np.float64)
    expected = np.sqrt((features**2).sum(axis=0))
    assert found["classifier.weight"] == pytest.approx(expected, rel=1e-4)


def test_norms_of_another_network_are_refused(network, tmp_path):
    built, state, images, _ = network
    path = tmp_path / "inputs.npz"
    inputs.save(path, pieces.input_norms(built, state, [images], 1))
    assert list(inputs.load(path, built.weights)) == list(built.weights)
    other = architecture.resnet(Model(name=built.name, width=0.25), 5)
    with pytest.raises(TwoFourError, match="of another network"):
        inputs.load(path, other.weights)


def test_multiplications_are_the_published_ones():
    """ResNet50 v1.5 has 4.09 billion at 224 pixels, ResNet18 1.81 (torchvision's model table)."""
    for name, billions in (("resnet50", 4.09), ("resnet18", 1.81)):
        found = pieces.multiplications(architecture.resnet(Model(name=name), 1000), 224)
        assert sum(found.values()) / 1e9 == pytest.approx(billions, rel=0.005)


def pruned_networks(network):
    built, state, *_ = network
    names = [n for n in built.weights if n not in ("stem.conv.weight", "classifier.weight")]
    pruned, _ = prune.prune(state, names, "mask_1d")
    units = sensitivity.units(built, names)
    networks = sensitivity.Networks(built, state, pruned, names, 1, SIZE)
    return names, pruned, units, networks, sensitivity.networks(units, names)


def test_networks_that_share_a_beginning_are_computed_as_if_alone(network):
    built, state, images, _ = network
    names, pruned, _, networks, sets = pruned_networks(network)
    sets.append(frozenset(names[1::2]))
    for part, logits in zip(sets, networks.logits(images, sets)):
        mixed = {**state, **{name: pruned[name] for name in part}}
        assert np.abs(logits - chain(built, mixed, images)).max() < 1e-4
    assert networks.work([frozenset()]) == 2  # the dense and the pruned network always run
    assert 2 < networks.work(sets) < 2 + len(sets)


def test_units_are_layers_blocks_and_stages(network):
    built, *_ = network
    names = [n for n in built.weights if n != "stem.conv.weight"]
    units = sensitivity.units(built, names)
    kinds = {kind: [u for u in units if u.kind == kind] for kind in ("layer", "block", "stage")}
    assert [u.name for u in kinds["layer"]] == names
    assert len(kinds["block"]) == 5
    assert [u.name for u in kinds["stage"]] == ["layer2"]  # the others have one block
    assert all(len(set(u.weights)) == len(u.weights) > 1 for u in kinds["block"])


def test_a_measurement_that_was_stopped_goes_on_and_ends_the_same(network, tmp_path):
    _, _, images, labels = network
    _, _, _, networks, sets = pruned_networks(network)
    batches = [(images[i : i + 4], labels[i : i + 4]) for i in (0, 4, 8)]
    seen = []

    def measured(path, given, key="a"):
        return sensitivity.measure(networks, sets, given, Notes(path, key), lambda: seen.append(1))

    whole = measured(tmp_path / "whole.npz", batches)
    assert len(seen) == 3 * len(set(sets))
    assert all(result.images == 12 for result in whole.values())

    def cut():
        yield batches[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "cut.npz", cut())
    assert Notes(tmp_path / "cut.npz", "a").done == 1
    assert Notes(tmp_path / "cut.npz", "b").done == 0  # of another measurement
    used = []
    real = networks.logits
    networks.logits = lambda x, s: used.append(x) or real(x, s)
    try:
        assert measured(tmp_path / "cut.npz", batches) == whole
    finally:
        del networks.logits
    assert len(used) == 2  # the first batch was known
    (tmp_path / "cut.npz").write_bytes(b"damaged")
    assert measured(tmp_path / "cut.npz", batches) == whole


def test_results_are_top1_and_cross_entropy(network, tmp_path):
    built, state, images, labels = network
    _, _, _, networks, _ = pruned_networks(network)
    found = sensitivity.measure(
        networks, [frozenset()], [(images, labels)], Notes(tmp_path / "n.npz", ""), lambda: None
    )[frozenset()]
    probabilities = softmax(chain(built, state, images).astype(np.float64))
    assert found.correct == (probabilities.argmax(axis=1) == labels).sum()
    assert found.mean_loss == pytest.approx(-np.log(probabilities[np.arange(12), labels]).mean())


NAMES = ["a.conv1.weight", "a.conv2.weight", "b.conv1.weight"]


def result(top1, loss):
    return Result(int(top1 * 10), loss * 1000, 1000)


def additive(rises, drops):
    """Results of all sets of NAMES, whose rises of the loss and drops of top-1 add up."""
    return {
        frozenset(s): result(90 - sum(drops[n] for n in s), 1 + sum(rises[n] for n in s))
        for size in range(4)
        for s in itertools.combinations(NAMES, size)
    }


def test_cost_over_gain_orders_the_layers_and_what_gains_nothing_is_last():
    rises = dict(zip(NAMES, (0.3, 0.1, 0.0)))
    costs = sensitivity.costs(additive(rises, dict.fromkeys(NAMES, 1)), NAMES)
    assert costs == pytest.approx(rises)
    gains = dict(zip(NAMES, (30.0, 5.0, 0.0)))
    assert choice.order(costs, gains) == ["a.conv1.weight", "a.conv2.weight", "b.conv1.weight"]


def test_the_points_of_the_path_end_with_all_layers():
    assert choice.points(3) == [1, 2, 3]
    many = choice.points(200)
    assert len(many) == choice.POINTS and many[-1] == 200 and many == sorted(set(many))


def measured_path():
    rises, drops = dict(zip(NAMES, (0.1, 0.2, 0.3))), dict(zip(NAMES, (0.5, 1.0, 4.0)))
    gains = dict.fromkeys(NAMES, 10.0)
    return choice.path(NAMES, additive(rises, drops), gains)


@pytest.mark.parametrize(("budget", "count"), [(0.5, 1), (1.4, 1), (1.5, 2), (5.4, 2), (5.5, 3)])
def test_a_budget_takes_the_longest_beginning_that_keeps_to_it(budget, count):
    found = choice.within(measured_path(), budget)
    assert found.names == NAMES[:count] and (found.layers, found.of) == (count, 3)
    assert found.drop <= budget + 1e-9 and found.gain == 10 * count


def test_a_budget_that_no_layer_keeps_to_is_told():
    with pytest.raises(TwoFourError, match=r"max_top1_drop is 0.1, but .* cost 0.50 points"):
        choice.within(measured_path(), 0.1)


def test_layers_beyond_the_budget_stay_dense_with_a_reason(tmp_path):
    before = {name: layers.Choice(True, "2:4") for name in NAMES}
    before["stem"] = layers.Choice(False, "excluded")
    walked = measured_path()
    made = choice.choices(before, choice.within(walked, 1.5), walked, 1.5)
    assert layers.chosen(made) == NAMES[:2]
    assert made["b.conv1.weight"].reason == (
        "number 3 of 3 by what it costs for what it gains; sparsity.choose.max_top1_drop (1.5) "
        "allows the first 2"
    )
    assert made["stem"].reason == "excluded"


def test_tables_of_other_columns_are_refused(tmp_path):
    path = tmp_path / "path.csv"
    measured_path().to_csv(path, index=False)
    pd.testing.assert_frame_equal(choice.read(path, choice.PATH), measured_path())
    with pytest.raises(TwoFourError, match="has other columns"):
        choice.read(path, choice.UNITS)


def test_a_units_two_networks():
    unit = Unit("a", "block", tuple(NAMES[:2]))
    assert unit.alone() == set(NAMES[:2]) and unit.spared(NAMES) == {NAMES[2]}


def test_the_validation_list_is_not_read(prepared, dense, tmp_path):
    """What is pruned must not depend on the images that it is judged by."""
    without = tmp_path / "data"
    shutil.copytree(prepared, without)
    (without / "val.txt").write_text("no list at all")
    settings = config.validated(merged(TINY, {"sparsity": {"require_learnt": False}}))
    found = []
    for number, data in enumerate((prepared, without)):
        folder = tmp_path / str(number)
        weights = ("--data", data, "--weights", dense / "model.pdparams")
        given = stages.settings("measure_inputs", settings)
        norms = folder / "inputs.npz"
        program("measure_inputs.py", "--config", given, *weights, "--out", norms)
        given = stages.settings("measure_sensitivity", settings)
        options = ("--algorithm", "wanda", "--inputs", norms, "--out", folder)
        program("measure_sensitivity.py", "--config", given, *weights, *options)
        found.append([(folder / name).read_bytes() for name in ("sensitivity.csv", "path.csv")])
        assert not list(folder.glob("notes*"))
    assert found[0] == found[1]
