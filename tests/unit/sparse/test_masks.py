"""Masks against Paddle's own, against brute force, and against each other."""

import itertools

from twofour.sparse import masks, pattern, prune
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from paddle.incubate import asp

RNG = np.random.default_rng(0)
# With 6 input channels the last group is padded; with 5 outputs, so is the last 4×4 block.
SHAPES = [(8, 16, 3, 3), (4, 8, 1, 1), (5, 6, 1, 1), (3, 3, 7, 7), (16, 6), (64, 10)]


def weights(shape, kind):
    if kind == "normal":
        return RNG.standard_normal(shape).astype("float32")
    if kind == "ties":  # many equal magnitudes of both signs
        return RNG.integers(-2, 3, shape).astype("float32")
    return np.zeros(shape, "float32")


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros"])
@pytest.mark.parametrize("shape", SHAPES)
def test_mask_1d_is_paddles_bit_for_bit(shape, kind):
    weight = weights(shape, kind)
    # How paddle.incubate.asp prunes a parameter: the transposed weight, the transposed mask.
    expected = asp.create_mask(weight.T, func_name=asp.MaskAlgo.MASK_1D, n=2, m=4).T
    assert np.array_equal(masks.mask_1d(weight), expected.astype(bool))


def test_mask_1d_breaks_every_kind_of_tie_as_paddle_does():
    rows = np.array(list(itertools.product(range(4), repeat=4)), "float32")  # all orders of ties
    expected = asp.create_mask(rows, func_name=asp.MaskAlgo.MASK_1D, n=2, m=4)
    assert np.array_equal(masks.mask_1d(rows.T).T, expected.astype(bool))


def blocks(weight):
    """The 4×4 blocks of outputs × inputs of a weight without padding, by loops."""
    w = weight if weight.ndim == 4 else weight.T[:, :, None, None]
    for r, s in itertools.product(range(w.shape[2]), range(w.shape[3])):
        for o, c in itertools.product(range(0, w.shape[0], 4), range(0, w.shape[1], 4)):
            yield w[o : o + 4, c : c + 4, r, s]


def allowed_patterns():
    """All 0/1 matrices of 4×4 with two ones in each row and column, from all 2^16."""
    found = []
    for bits in range(1 << 16):
        if bin(bits).count("1") == 8:
            m = np.array([bits >> i & 1 for i in range(16)]).reshape(4, 4)
            if (m.sum(0) == 2).all() and (m.sum(1) == 2).all():
                found.append(m)
    return found


def greedy(block):
    kept = np.zeros((4, 4), bool)
    for cell in np.argsort(-np.abs(block.ravel()), kind="stable"):
        i, j = divmod(int(cell), 4)
        if kept[i].sum() < 2 and kept[:, j].sum() < 2:
            kept[i, j] = True
    return kept


@pytest.mark.parametrize("kind", ["normal", "ties"])
@pytest.mark.parametrize("shape", [(8, 8, 3, 3), (12, 16)])
def test_2d_masks_against_brute_force(shape, kind):
    weight = weights(shape, kind)
    patterns = allowed_patterns()
    assert len(patterns) == 90
    best, near = masks.mask_2d_best(weight), masks.mask_2d_greedy(weight)
    for block, kept, taken in zip(blocks(weight), blocks(best), blocks(near)):
        optimum = max((np.abs(block) * pattern).sum() for pattern in patterns)
        assert (kept.sum(0) == 2).all() and (kept.sum(1) == 2).all()
        assert np.abs(block)[kept].sum() == pytest.approx(optimum, rel=1e-6)
        assert np.array_equal(taken, greedy(block))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("algorithm", list(masks.ALGORITHMS))
def test_every_mask_is_2_4_along_the_inputs(shape, algorithm):
    weight = weights(shape, "normal")
    norms = np.random.default_rng(1).random(shape[pattern.input_axis(shape)])
    mask = masks.make(algorithm, weight, norms)
    assert mask.shape == shape and mask.dtype == bool
    assert pattern.holds(weight * mask)
    if algorithm.startswith("mask_2d") and len(shape) == 4 and shape[0] % 4 == 0:
        # 2-D masks are 2:4 along the outputs as well, at each kernel position.
        assert pattern.holds(np.swapaxes(mask, 0, 1))


@pytest.mark.parametrize("kind", ["normal", "ties"])
def test_kept_magnitude_orders_the_algorithms(kind):
    weight = weights((32, 64, 3, 3), kind)
    one, greedy_, best = (
        np.abs(weight * masks.make(a, weight)).sum()
        for a in ("mask_1d", "mask_2d_greedy", "mask_2d_best")
    )
    assert one >= best >= greedy_ > 0.6 * np.abs(weight).sum() * (kind == "normal")


@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (16, 8)])
def test_wanda_keeps_the_largest_products_of_weight_and_norm(shape):
    """By the definition, group by group: Sun et al., equation 1."""
    weight, axis = weights(shape, "normal"), pattern.input_axis(shape)
    norms = np.random.default_rng(1).random(shape[axis]).astype(np.float32)
    mask = np.moveaxis(masks.make("wanda", weight, norms), axis, -1)
    score = np.moveaxis(np.abs(weight), axis, -1) * norms
    for kept, scores in zip(mask.reshape(-1, 4), score.reshape(-1, 4)):
        assert set(np.flatnonzero(kept)) == set(np.argsort(scores)[2:])
    same = masks.make("wanda", weight, np.full(shape[axis], 3.0))
    assert np.array_equal(same, masks.mask_1d(weight))
    with pytest.raises(TwoFourError, match="wanda needs the norms"):
        masks.make("wanda", weight)


def test_prune_leaves_other_weights_and_kept_values_alone():
    both = {name: weights((8, 8), "normal") for name in ("conv2d_1.w_0", "conv2d_10.w_0")}
    pruned, kept = prune.prune(both, ["conv2d_1.w_0"], "mask_1d")
    assert list(kept) == ["conv2d_1.w_0"]
    mask = kept["conv2d_1.w_0"]
    assert np.array_equal(pruned["conv2d_1.w_0"][mask], both["conv2d_1.w_0"][mask])
    assert np.count_nonzero(pruned["conv2d_1.w_0"]) == 32
    assert pruned["conv2d_1.w_0"].dtype == np.float32
    assert pruned["conv2d_10.w_0"] is both["conv2d_10.w_0"]
