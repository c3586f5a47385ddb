"""Channel permutation: same function, more magnitude kept, and a search that is bounded."""

import itertools

from twofour import config
from twofour.network import architecture, graph
from twofour.network.inference import Inference
from twofour.sparse import layers, masks, pattern, permute, prune

import numpy as np
import pytest
from plans import variables

NETWORKS = [
    {"name": "resnet50", "width": 0.125, "blocks": [2, 1, 2, 1]},
    {"name": "resnet18", "width": 0.25, "blocks": [1, 2, 1, 2]},
]
SIZE = 32  # pixels


def network(changes):
    return architecture.resnet(config.validated({"model": changes}).model, 5)


def random_state(net, seed=0):
    """Weights and statistics of all layers, none of them trivial."""
    rng = np.random.default_rng(seed)
    state = {}
    infer = Inference(net, SIZE, "cpu")
    shapes = variables(infer.graph)
    for name in net.state:
        values = rng.standard_normal(shapes[name]).astype("float32")
        positive = name.endswith((".variance", "bn1.weight", "bn2.weight"))
        state[name] = np.abs(values) + 0.5 if positive else values * 0.2
    return infer, state


def outputs(infer, state, images):
    return infer.load(state)(images)


@pytest.mark.parametrize("changes", [*NETWORKS, {"name": "resnet101"}])
def test_streams_join_all_layers_with_fitting_channels(changes):
    net = network(changes)
    shapes = net.weights
    produced = [conv.name for stream in net.streams for conv in stream.producers]
    consumed = [name for stream in net.streams for name in stream.consumers]
    assert sorted(produced) == sorted(conv.name for conv in net.convs)
    assert sorted(consumed) == sorted(set(shapes) - {architecture.STEM})
    for stream in net.streams:
        sizes = {conv.outputs for conv in stream.producers}
        sizes |= {shapes[n][pattern.input_axis(shapes[n])] for n in stream.consumers}
        assert len(sizes) == 1


@pytest.mark.parametrize("changes", NETWORKS)
def test_any_order_of_all_streams_keeps_the_function(changes):
    net = network(changes)
    built, state = random_state(net)
    rng = np.random.default_rng(1)
    orders = {
        index: rng.permutation(stream.producers[0].outputs)
        for index, stream in enumerate(net.streams)
    }
    permuted = permute.apply(net, state, orders)
    changed = [name for name in state if not np.array_equal(state[name], permuted[name])]
    assert set(changed) == set(state) - {graph.CLASSIFIER_BIAS}
    images = rng.standard_normal((3, 3, 32, 32)).astype("float32")
    before, after = outputs(built, state, images), outputs(built, permuted, images)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-5)
    assert np.ptp(before, axis=0).max() > 1e-3  # the network does tell the images apart


def kept(columns, order=None):
    columns = columns if order is None else columns[order]
    return np.abs(columns * masks.mask_1d(columns)).sum()  # [in, out]: groups along axis 0


def test_two_stripes_are_split_in_the_best_of_all_ways():
    columns = np.random.default_rng(2).lognormal(size=(8, 50)).astype("float32")
    order = permute.search(columns, seed=0)
    best = max(kept(columns, list(p)) for p in itertools.permutations(range(8)) if p[0] == 0)
    assert sorted(order) == list(range(8))
    assert kept(columns, order) == pytest.approx(best, rel=1e-6)


def test_search_finds_planted_structure():
    """Rows that use 2 channels of each group lose nothing, once the groups are found."""
    rng = np.random.default_rng(3)
    columns = np.zeros((32, 200), "float32")
    for row in range(200):
        for start in range(0, 32, 4):
            columns[start + rng.choice(4, 2, replace=False), row] = rng.uniform(1, 2, 2)
    shuffled = columns[rng.permutation(32)]
    assert kept(shuffled) < 0.95 * columns.sum()
    assert kept(shuffled, permute.search(shuffled, seed=0, cycles=10)) == pytest.approx(
        columns.sum(), rel=1e-6
    )


def test_more_cycles_never_keep_less_and_the_seed_decides():
    columns = np.random.default_rng(4).lognormal(size=(30, 40)).astype("float32")  # 2 are left over
    found = [kept(columns, permute.search(columns, 0, cycles)) for cycles in (0, 1, 2, 50)]
    assert found == sorted(found) and found[0] == kept(columns) < found[1]
    again = permute.search(columns, 0, 2)
    assert np.array_equal(again, permute.search(columns, 0, 2))
    assert again[-2:].tolist() == [28, 29]


def test_find_raises_the_kept_magnitude_of_the_whole_network():
    net = network(NETWORKS[0])
    _, state = random_state(net)
    names = layers.chosen(layers.choose(net.weights, ["*"], ["stem*", "classifier*"]))
    orders = permute.find(net, state, names, seed=1)
    permuted = permute.apply(net, state, orders)
    before, after = (
        pattern.kept_magnitude(prune.prune(s, names, "mask_1d")[0], s, names)
        for s in (state, permuted)
    )
    assert after > before + 0.005
    assert all(
        np.array_equal(order, permute.find(net, state, names, seed=1)[index])
        for index, order in orders.items()
    )


def test_streams_without_sparse_readers_stay():
    net = network(NETWORKS[0])
    _, state = random_state(net)
    orders = permute.find(net, state, ["layer1.0.conv2.weight"], seed=1)
    assert [net.streams[i].consumers for i in orders] == [("layer1.0.conv2.weight",)]
