"""The network against an independent reference: counts, shapes, strides, a block by hand."""

from twofour import config
from twofour.network import architecture, graph, scope
from twofour.network.inference import Inference
from twofour.system.errors import TwoFourError
from twofour.train import training_graph

import numpy as np
import paddle
import pytest
from plans import plan


def resnet(classes=1000, **changes):
    return architecture.resnet(config.validated({"model": changes}).model, classes)


@pytest.mark.parametrize(
    ("name", "parameters"),
    # torchvision's documented parameter counts
    [
        ("resnet18", 11689512),
        ("resnet34", 21797672),
        ("resnet50", 25557032),
        ("resnet101", 44549160),
        ("wide_resnet50_2", 68883240),
        ("wide_resnet101_2", 126886696),
    ],
)
def test_parameter_count(name, parameters):
    assert resnet(name=name).parameters == parameters


def test_v15_puts_the_stride_into_the_3x3():
    for block in resnet().blocks:
        assert [c.stride for c in block.convs if c.kernel == 1] == [1, 1]
    strides = [b.convs[1].stride for b in resnet().blocks]
    assert strides == [1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1]


def test_graph_has_the_architectures_weights_and_shapes(tiny):
    network = architecture.resnet(tiny.model, 3)
    infer = Inference(network, tiny.data.image_size, "cpu")
    found = {p.name: tuple(p.shape) for p in infer.graph.all_parameters()}
    assert {n: found[n] for n in network.weights} == network.weights
    trainable = [p for p in infer.graph.all_parameters() if p.trainable]
    assert sum(int(np.prod(p.shape)) for p in trainable) == network.parameters
    assert tuple(infer.probabilities.shape) == (-1, 3)


def _convolve(x, w, stride):
    """Convolution [N,C,H,W] * OIHW, zero padding that keeps the size, as plain sums."""
    k = w.shape[2]
    p = (k - 1) // 2
    x = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)])
    size = (x.shape[2] - k) // stride + 1
    out = np.zeros((x.shape[0], w.shape[0], size, size))
    for i in range(size):
        for j in range(size):
            patch = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, :, i, j] = np.tensordot(patch, w, axes=([1, 2, 3], [1, 2, 3]))
    return out


def test_whole_network_equals_numpy(tiny):
    """Evaluation of the slim net, computed by hand from the same weights."""
    network = architecture.resnet(tiny.model, 3)
    infer = Inference(network, tiny.data.image_size, "cpu")
    rng = np.random.default_rng(0)
    state = scope.read(list(network.state), infer.scope)
    for name, value in state.items():  # statistics that are not 0 and 1
        if name.endswith(("mean", "bias")):
            state[name] = rng.normal(0, 0.1, value.shape).astype("float32")
        elif name.endswith("variance"):
            state[name] = rng.uniform(0.5, 1.5, value.shape).astype("float32")
    infer.load(state)

    def layer(conv, x, relu):
        y = _convolve(x, state[conv.weight], conv.stride)
        g, b, m, v = (state[f"{conv.norm}.{p}"][:, None, None] for p in architecture.NORM_PARTS)
        y = (y - m) / np.sqrt(v + 1e-5) * g + b
        return np.maximum(y, 0) if relu else y

    x = rng.standard_normal((2, 3, 32, 32)).astype("float32")
    y = layer(network.stem, x, True)
    padded = np.pad(y, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    y = np.array(
        [
            [padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((2, 3)) for j in range(8)]
            for i in range(8)
        ]
    )
    y = y.transpose(2, 3, 0, 1)
    for block in network.blocks:
        z = y
        for conv in block.convs[:-1]:
            z = layer(conv, z, True)
        z = layer(block.convs[-1], z, False)
        y = np.maximum(z + (layer(block.shortcut, y, False) if block.shortcut else y), 0)
    logits = y.mean((2, 3)) @ state["classifier.weight"] + state["classifier.bias"]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(infer(x), expected, atol=2e-5)


def test_he_initialisation():
    given = plan({"model": {"width": 0.5, "blocks": [1, 1, 1, 1]}}, classes=1000)
    network, built = given.network, training_graph.build(given, lambda s: 0.1)
    paddle.static.Executor(paddle.CPUPlace()).run(built.startup)
    for conv in network.convs:
        if conv.inputs * conv.kernel**2 * conv.outputs > 20000:
            std = scope.read([conv.weight])[conv.weight].std()
            assert std == pytest.approx(np.sqrt(2 / (conv.inputs * conv.kernel**2)), rel=0.05)


def test_weight_decay_spares_batch_norm_and_nothing_else():
    """With zero gradients (a constant loss) an update shows only the weight decay."""
    given = plan(classes=3)
    network, built = given.network, training_graph.build(given, lambda s: 0.1)
    decayed = {
        op.input("Param")[0]: op.attr("regularization_coeff")
        if op.attr("regularization_method")
        else 0.0
        for op in built.main.global_block().ops
        if op.type == "momentum"
    }
    by_ops = {
        op.input("X")[0]
        for op in built.main.global_block().ops
        if op.type == "scale"
        and op.attr("op_role")
        and op.attr("scale") == pytest.approx(1 / 32768)
    }
    has_decay = {name for name, value in decayed.items() if value} | (by_ops & set(decayed))
    assert has_decay == {*network.weights, graph.CLASSIFIER_BIAS}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_equals_numpy(smoothing):
    paddle.enable_static()
    rng = np.random.default_rng(1)
    logits, labels = rng.standard_normal((6, 5)).astype("float32"), rng.integers(0, 5, 6)
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup):
        x, y = (
            paddle.static.data("x", [None, 5], "float32"),
            paddle.static.data("y", [None], "int64"),
        )
        loss = training_graph.smoothed_cross_entropy(x, y, 5, smoothing)
    got = paddle.static.Executor().run(main, feed={"x": logits, "y": labels}, fetch_list=[loss])[0]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.full((6, 5), smoothing / 5)
    target[np.arange(6), labels] += 1 - smoothing
    assert float(np.ravel(got)[0]) == pytest.approx(-(target * log_p).sum(1).mean(), rel=1e-5)


def test_one_class_is_refused():
    with pytest.raises(TwoFourError, match="at least 2 classes"):
        resnet(classes=1)
