"""Reordering channels so that 2:4 pruning keeps more magnitude, with the function unchanged.

Which weights are neighbours in a group of 4 is an accident of the channels' numbering. J. Pool and
C. Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021, reorder the input channels of a layer,
and the output channels of what feeds it, so that large weights compete less with each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..network import graph
from ..network.architecture import Architecture, Stream
from ..network.inference import Inference
from ..system.errors import TwoFourError
from .pattern import GROUP, input_axis, kept_magnitude
from .prune import prune

CYCLES = 2  # bound of the search; see search()
TOLERANCE = 1e-4  # of a class probability: sums are the same but for the order of their terms
IMAGES = 4  # random ones, on which the permuted network must give the same outputs

_PAIR = 2 * GROUP
_FLOATS = 1 << 17  # at a time: enough to keep the threads busy, few enough for the caches
_PAIRS_OF = list(itertools.combinations(range(_PAIR), 2))
_INDEX = {pair: index for index, pair in enumerate(_PAIRS_OF)}
# The 35 ways to split 8 columns into two groups of 4; the first is the present one.
_SPLITS = [
    (left, tuple(sorted(set(range(_PAIR)) - set(left))))
    for left in itertools.combinations(range(_PAIR), GROUP)
    if 0 in left
]


def find(
    network: Architecture, weights: Mapping[str, np.ndarray], sparse: Iterable[str], seed: int
) -> dict[int, np.ndarray]:
    """An order of the channels of each of the network's streams: {index of the stream: order}.

    Only the weights ``sparse`` count. Streams that none of them reads are left out, and so are
    those for which nothing better than the present order was found.
    """
    chosen = set(sparse)
    tasks = {}
    for index, stream in enumerate(network.streams):
        readers = [weights[name] for name in stream.consumers if name in chosen]
        if readers and len(_columns(readers[0])) >= _PAIR:
            tasks[index] = readers
    heavy_first = sorted(tasks, key=lambda i: -_cost(tasks[i]))
    with ThreadPoolExecutor() as pool:  # NumPy's loops run in parallel
        orders = pool.map(
            lambda i: search(np.concatenate([_columns(w) for w in tasks[i]], axis=1), seed + i),
            heavy_first,
        )
        found = dict(zip(heavy_first, orders))
    return {i: found[i] for i in sorted(found) if (found[i] != np.arange(len(found[i]))).any()}


def search(columns: np.ndarray, seed: int, cycles: int = CYCLES) -> np.ndarray:
    """An order of ``columns`` [channels, rows] in which 2 of 4 neighbours keep more magnitude.

    Stripes of 4 channels meet in pairs, in the order of a round-robin tournament over shuffled
    stripes; the 8 channels of a pair are split again in the best of the 35 ways. So the kept
    magnitude never falls. The search ends when a cycle, in which every two stripes meet once,
    improves nothing (then no pair can be split any better), or after ``cycles`` of them. Channels
    beyond the last whole stripe stay where they are.
    """
    columns = np.abs(columns).astype(np.float32)
    stripes = np.arange(len(columns) // GROUP * GROUP).reshape(-1, GROUP)
    changed = np.zeros(len(stripes), dtype=np.int64)  # the round in which each last changed
    met = np.full((len(stripes), len(stripes)), -1, dtype=np.int64)
    players = np.random.default_rng(seed).permutation(len(stripes) + len(stripes) % 2)
    turn = 0
    for _ in range(cycles):
        before = turn
        for _ in range(len(players) - 1):
            turn += 1
            half = len(players) // 2
            pairs = np.stack([players[:half], players[: half - 1 : -1]], axis=1)
            pairs = pairs[(pairs < len(stripes)).all(axis=1)]  # with an odd number, one sits out
            a, b = pairs.T
            pairs = pairs[np.maximum(changed[a], changed[b]) > met[a, b]]
            a, b = pairs.T
            met[a, b] = met[b, a] = turn
            _improve(columns, stripes, pairs, changed, turn)
            players = np.concatenate([players[:1], players[-1:], players[1:-1]])
        if changed.max(initial=0) <= before:
            break
    return np.concatenate([stripes.ravel(), np.arange(stripes.size, len(columns))])


def _improve(columns, stripes, pairs, changed, turn) -> None:
    """Split each pair of stripes in the best way, in place."""
    step = max(1, _FLOATS // columns.shape[1])
    for start in range(0, len(pairs), step):
        part = pairs[start : start + step]
        members = stripes[part].reshape(-1, _PAIR)  # [n, 8]
        scores = _splits(columns[members.T])
        best = np.argmax(scores, axis=0)
        gains = scores[best, np.arange(len(part))] - scores[0]
        # Sums of float32 vary in their last digits with the order; that is not a gain.
        for row in np.flatnonzero(gains > 1e-5 * scores[0]):
            split = _SPLITS[best[row]]
            for stripe, side in zip(part[row], split):
                stripes[stripe] = members[row, list(side)]
                changed[stripe] = turn


def _splits(columns: np.ndarray) -> np.ndarray:
    """Kept magnitude of each split of 8 columns, [8, n, rows] → [35, n].

    The two largest of a, b, c, d sum up to max(max(a, b) + max(c, d), a + b, c + d).
    """
    sums = [columns[i] + columns[j] for i, j in _PAIRS_OF]
    maxima = [np.maximum(columns[i], columns[j]) for i, j in _PAIRS_OF]
    buffer = np.empty_like(columns[0])
    scores = np.empty((len(_SPLITS), columns.shape[1]))
    for row, split in enumerate(_SPLITS):
        total = 0.0
        for a, b, c, d in split:
            ab, cd = _INDEX[a, b], _INDEX[c, d]
            np.add(maxima[ab], maxima[cd], out=buffer)
            np.maximum(buffer, sums[ab], out=buffer)
            np.maximum(buffer, sums[cd], out=buffer)
            total = total + buffer.sum(axis=1)
        scores[row] = total
    return scores


def apply(
    network: Architecture, state: Mapping[str, np.ndarray], orders: Mapping[int, np.ndarray]
) -> dict[str, np.ndarray]:
    """The whole state of a network (weights and statistics) with its channels in the new orders."""
    result = dict(state)
    for index, order in orders.items():
        stream = network.streams[index]
        for name in _followers(stream, state):
            result[name] = np.ascontiguousarray(result[name][order])
        for name in stream.consumers:
            axis = input_axis(state[name].shape)
            result[name] = np.ascontiguousarray(np.take(result[name], order, axis=axis))
    return result


def _followers(stream: Stream, state: Mapping[str, np.ndarray]) -> list[str]:
    """What is indexed by the stream's channels on its first axis: producers and their norms."""
    names = []
    for conv in stream.producers:
        names += [conv.weight, *(name for name in state if name.startswith(f"{conv.norm}."))]
    return names


def _columns(weight: np.ndarray) -> np.ndarray:
    """The weight as [input channels, everything else]."""
    return np.moveaxis(weight, input_axis(weight.shape), 0).reshape(
        weight.shape[input_axis(weight.shape)], -1
    )


def _cost(readers: list[np.ndarray]) -> int:
    return sum(w.size for w in readers) * len(_columns(readers[0]))


def difference(
    network: Architecture,
    dense: Mapping[str, np.ndarray],
    permuted: Mapping[str, np.ndarray],
    size: int,
    seed: int,
) -> float:
    """The largest difference in a class probability between two states, on random images.

    The images are of ``size`` pixels. Raises TwoFourError if it is more than rounding explains.
    """
    infer = Inference(network, size, "cpu")
    shape = (IMAGES, *graph.input_shape(network, size)[1:])
    images = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    before, after = (
        infer.load(state, where)(images)
        for state, where in ((dense, "the dense network"), (permuted, "the permuted network"))
    )
    result = float(np.abs(before - after).max())
    if not result <= TOLERANCE:
        raise TwoFourError(
            f"the permuted network differs from the dense one by {result:.3g} in a class "
            "probability; this is a bug in the program, please report it"
        )
    return result


def record(
    network: Architecture,
    dense: Mapping[str, np.ndarray],
    permuted: Mapping[str, np.ndarray],
    sparse: Iterable[str],
    orders: Mapping[int, np.ndarray],
    difference: float,
) -> dict:
    """What permutation.json holds."""
    names = list(sparse)
    kept = {
        key: kept_magnitude(prune(state, names, "mask_1d")[0], state, names)
        for key, state in (("before", dense), ("after", permuted))
    }
    return {
        "kept_magnitude_mask_1d": kept,
        "largest_difference": difference,
        "cycles_at_most": CYCLES,
        "streams": [
            {
                "producers": [conv.name for conv in network.streams[index].producers],
                "consumers": list(network.streams[index].consumers),
                "order": order.tolist(),
            }
            for index, order in orders.items()
        ],
    }
