"""How much accuracy the network loses if this layer is pruned and that one is not.

Measured without retraining, on images that it was trained on: for each layer, each residual block
and each stage, with it alone pruned, and with all pruned but it. A network is described by the set
of its weights that are pruned; where two sets begin alike, their common beginning is computed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..data import noise
from ..network import pieces
from ..network.architecture import CLASSIFIER, STEM, Architecture
from ..network.pieces import Piece, State
from ..system.files import PathLike, atomic, read_arrays

BATCH = 8  # images at a time: what enters each piece of two networks is kept, 0.4 GB for ResNet50
LAYER, BLOCK, STAGE = "layer", "block", "stage"
_KEEP = 40_000_000  # parameters up to which all variants of the pieces are kept in memory


@dataclass(frozen=True)
class Unit:
    """Layers that are pruned, or not, together; ``kind`` is layer, block or stage."""

    name: str
    kind: str
    weights: tuple[str, ...]

    def alone(self) -> frozenset[str]:
        """The network in which this alone is pruned."""
        return frozenset(self.weights)

    def spared(self, chosen: Iterable[str]) -> frozenset[str]:
        """The network in which all the ``chosen`` are pruned but this."""
        return frozenset(chosen) - frozenset(self.weights)


@dataclass(frozen=True)
class Result:
    """What a network makes of the images: ``correct`` of them, and the sum of their ``loss``."""

    correct: int
    loss: float
    images: int

    @property
    def top1(self) -> float:
        """Per cent."""
        return 100 * self.correct / self.images

    @property
    def mean_loss(self) -> float:
        return self.loss / self.images


def units(network: Architecture, chosen: Iterable[str]) -> list[Unit]:
    """Every one of the ``chosen`` weights, then blocks and stages with several of them.

    A stage of one block is left out.
    """
    names = list(chosen)
    result = [Unit(name, LAYER, (name,)) for name in names]
    for kind, depth in ((BLOCK, 2), (STAGE, 1)):
        groups: dict[str, list[str]] = {}
        for name in names:
            if name not in (STEM, CLASSIFIER):
                groups.setdefault(".".join(name.split(".")[:depth]), []).append(name)
        known = {unit.weights for unit in result}
        result += [
            Unit(group, kind, tuple(weights))
            for group, weights in groups.items()
            if len(weights) > 1 and tuple(weights) not in known
        ]
    return result


def networks(units: Iterable[Unit], chosen: Sequence[str]) -> list[frozenset[str]]:
    """The dense one, the one with all ``chosen`` weights pruned, and the two of each unit."""
    found = [frozenset(), frozenset(chosen)]
    for unit in units:
        found += [unit.alone(), unit.spared(chosen)]
    return list(dict.fromkeys(found))


class Networks:
    """A network whose ``chosen`` weights are taken from ``dense`` or from ``pruned``."""

    def __init__(
        self,
        network: Architecture,
        dense: State,
        pruned: State,
        chosen: Sequence[str],
        threads: int,
        size: int,
    ) -> None:
        self._pieces = pieces.split(network)
        self._dense, self._pruned = dense, pruned
        # Several networks at a time, each in one thread, which is faster than several threads each.
        self._pool = ThreadPoolExecutor(threads)
        self._chosen = frozenset(chosen)
        self._keep = network.parameters <= _KEEP
        self._runners: dict[tuple[int, frozenset], Callable] = {}
        work = pieces.multiplications(network, size)
        self._work = [sum(work[name] for name in piece.weights) for piece in self._pieces]

    def parts(self, pruned: frozenset[str]) -> list[frozenset[str]]:
        """The pruned weights of each piece."""
        return [pruned.intersection(piece.weights) for piece in self._pieces]

    def begins(self, pruned: frozenset[str]) -> tuple[int, bool]:
        """From which piece on a network differs from the dense one, or from the pruned one (True).

        The later of the two.
        """
        parts = self.parts(pruned)
        alike = [self.parts(frozenset()), self.parts(self._chosen)]
        firsts = [
            next((i for i, (a, b) in enumerate(zip(parts, same)) if a != b), len(parts))
            for same in alike
        ]
        return max(firsts), firsts[1] > firsts[0]

    def seconds(self, shape: tuple[int, ...]) -> float:
        """How long one whole network takes for a batch of images of this shape, measured."""
        images, times = noise.images(shape), []
        for _ in range(2):  # the first makes the networks
            start = time.perf_counter()
            list(self.logits(images, [frozenset()]))
            times.append(time.perf_counter() - start)
        return times[-1] / 2  # the dense and the pruned one

    def work(self, sets: Iterable[frozenset[str]]) -> float:
        """The multiplications for these networks over those for one whole network."""
        total = sum(self._work)
        return 2 + sum(sum(self._work[self.begins(s)[0] :]) / total for s in sets)

    def logits(self, x: np.ndarray, sets: Sequence[frozenset[str]]) -> Iterator[np.ndarray]:
        """The logits of each of the networks ``sets`` for the images ``x`` [N, C, H, W]."""
        ends = [self.parts(s) for s in (frozenset(), self._chosen)]
        entering = list(self._pool.map(lambda parts: self._inputs(x, parts), ends))

        def rest(pruned: frozenset[str]) -> np.ndarray:
            first, from_pruned = self.begins(pruned)
            y = entering[from_pruned][first]
            for number, part in list(enumerate(self.parts(pruned)))[first:]:
                y = self._run(number, part, y)
            return y

        return self._pool.map(rest, sets)

    def _inputs(self, x: np.ndarray, parts: list[frozenset[str]]) -> list[np.ndarray]:
        """What enters each piece, and the logits at the end."""
        found = [x]
        for number, part in enumerate(parts):
            found.append(self._run(number, part, found[-1]))
        return found

    def _run(self, number: int, part: frozenset[str], x: np.ndarray) -> np.ndarray:
        key, piece = (number, part), self._pieces[number]
        usual = not part or part == self._chosen.intersection(piece.weights)
        run = self._runners.get(key) or self._made(piece, part)
        if usual or self._keep:
            self._runners[key] = run
        result: np.ndarray = run(x)
        return result

    def _made(self, piece: Piece, part: frozenset[str]) -> Callable:
        state = {**self._dense, **{name: self._pruned[name] for name in part}}
        return pieces.runner(piece, state, threads=1)


def measure(
    networks: Networks,
    sets: Sequence[frozenset[str]],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    notes: Notes,
    seen: Callable[[], object],
) -> dict[frozenset[str], Result]:
    """The results of the networks ``sets``, each once, on all ``batches`` of images and labels.

    ``notes`` keep what is done: batches that they know are left out. ``seen`` is called after each
    network and batch.
    """
    distinct = list(dict.fromkeys(sets))
    correct, loss = notes.totals(len(distinct))
    count = 0
    for number, (images, labels) in enumerate(batches):
        count += len(labels)
        if number < notes.done:
            for _ in distinct:
                seen()
            continue
        for index, logits in enumerate(networks.logits(images, distinct)):
            seen()
            correct[index] += int((logits.argmax(axis=1) == labels).sum())
            loss[index] += _cross_entropy(logits, labels)
        notes.save(number + 1, correct, loss)
    return {s: Result(int(c), float(v), count) for s, c, v in zip(distinct, correct, loss)}


class Notes:
    """What a measurement has found so far, in the file ``path``, so that it can go on later.

    ``key`` says what is measured; notes with another one are not used.
    """

    def __init__(self, path: PathLike, key: str) -> None:
        self._path, self._key, self.done = path, key, 0
        self._found: dict[str, np.ndarray] = {}
        try:
            found = read_arrays(path, "key", "done", "correct", "loss")
        except Exception:  # there are none, or they are damaged
            return
        if str(found["key"]) == key:
            self.done, self._found = int(found["done"]), found

    def totals(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Images classified correctly and sums of losses, of ``count`` networks."""
        if self._found and len(self._found["correct"]) == count:
            return self._found["correct"].copy(), self._found["loss"].copy()
        self.done = 0
        return np.zeros(count, np.int64), np.zeros(count)

    def save(self, done: int, correct: np.ndarray, loss: np.ndarray) -> None:
        """The first ``done`` batches are over."""
        with atomic(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, key=self._key, done=done, correct=correct, loss=loss)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The sum over the images of -log softmax(logits)[label]."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    own = wide[np.arange(len(labels)), labels]
    return float((np.log(np.exp(wide).sum(axis=1)) - own).sum())


def costs(results: Mapping[frozenset[str], Result], chosen: Sequence[str]) -> dict[str, float]:
    """{weight: by how much pruning it raises the mean loss}.

    The mean of what it adds to a dense network and of what it adds last to a pruned one: with one
    of them alone, layers that make up for each other look harmless, or all alike. A rise below 0
    counts as none: it would hide the other.
    """
    dense, whole = results[frozenset()], results[frozenset(chosen)]
    found = {}
    for name in chosen:
        unit = Unit(name, LAYER, (name,))
        first = results[unit.alone()].mean_loss - dense.mean_loss
        last = whole.mean_loss - results[unit.spared(chosen)].mean_loss
        found[name] = (max(first, 0.0) + max(last, 0.0)) / 2
    return found
