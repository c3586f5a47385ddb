"""Which weights 2:4 sparsity keeps: four algorithms, as NumPy operations on whole tensors.

Three select by magnitude |w|, wanda by the magnitude times that of what the weight reads. A weight
is [out, in, kh, kw] or [in, out]; a mask is a bool array of its shape, True where it is kept.

References: A. Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378, section
3 (2:4 and its selection by magnitude); I. Hubara et al., "Accelerated Sparse Neural Training: A
Provable and Efficient Method to Find N:M Transposable Masks", NeurIPS 2021, section 3 (the 2-D
masks, which are 2:4 along the outputs, too, so that the backward pass could use them as well); M.
Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024, section
3 (Wanda, which is for linear layers; here also for convolutions).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import PathLike, atomic, read_arrays
from .pattern import GROUP, KEPT, input_axis

Mask = Callable[[np.ndarray], np.ndarray]

_CHUNK = 1 << 14  # blocks at a time, so that the working set stays in the processor's cache


def mask_1d(weight: np.ndarray) -> np.ndarray:
    """Keep the 2 largest of every 4 neighbours along the input channels.

    The same mask, bit for bit, as paddle.incubate.asp's mask_1d, which sorts rows of 4 one by one:
    input channels are padded with zeros, and among equal magnitudes those that NumPy's default
    sort of float64 puts last are kept. (Which ones depends on the processor; a stable sort would
    not give Paddle's mask.)
    """
    axis = input_axis(weight.shape)
    magnitude = _pad(np.abs(weight), axis)
    before, after = (
        int(np.prod(part)) for part in (magnitude.shape[:axis], weight.shape[axis + 1 :])
    )
    groups = magnitude.reshape(before, -1, GROUP, after)
    mask = np.empty(groups.shape, dtype=bool)
    step = max(1, _CHUNK * GROUP // (groups.shape[1] * after))
    for start in range(0, before, step):
        _keep_two(groups[start : start + step], mask[start : start + step])
    return mask.reshape(magnitude.shape).take(range(weight.shape[axis]), axis=axis)


def _keep_two(groups: np.ndarray, kept: np.ndarray) -> None:
    """Set ``kept`` for the 2 largest along axis 2 of ``groups`` [before, n, 4, after]."""
    parts = [np.ascontiguousarray(groups[:, :, i]) for i in range(GROUP)]
    above = {(i, j): parts[i] > parts[j] for i, j in itertools.permutations(range(GROUP), 2)}
    count = np.zeros(parts[0].shape, dtype=np.int8)
    for i in range(GROUP):
        x, y, z = (above[j, i] for j in range(GROUP) if j != i)
        fits = ~((x & y) | (x & z) | (y & z))  # at most one is larger
        kept[:, :, i] = fits
        count += fits
    # Equal magnitudes that compete for the last place.
    tied = np.nonzero(count != KEPT)
    if len(tied[0]):
        first, group, last = tied
        part = groups[first, group, :, last].astype(np.float64)
        chosen = np.ones(part.shape, dtype=bool)
        np.put_along_axis(chosen, np.argsort(part, axis=1)[:, : GROUP - KEPT], False, axis=1)
        kept[first, group, :, last] = chosen


def mask_2d_greedy(weight: np.ndarray) -> np.ndarray:
    """In every 4×4 block of outputs × inputs, take weights from the largest down while they fit.

    One fits while fewer than 2 are kept in its row and in its column. This can end with 7 or
    even 6 of the 8 possible weights. Equal magnitudes are taken in the order of the block.
    """
    cells = GROUP * GROUP
    two, high = np.uint16(2), np.uint16(2 * GROUP)

    def keep(blocks: np.ndarray) -> np.ndarray:
        # A magnitude of fp32 leaves the low bits of a float64 free; they hold the cell's number, so
        # that one sort orders both, the earlier of two equal ones first.
        keys = np.ascontiguousarray(blocks.T)
        keys.view(np.int64)[:] |= np.arange(cells - 1, -1, -1)[:, None]
        larger = np.empty(len(blocks))
        for i, j in _SORT_16:
            np.maximum(keys[i], keys[j], out=larger)
            np.minimum(keys[i], keys[j], out=keys[j])
            keys[i] = larger
        order = (cells - 1 - (keys.view(np.int64) & (cells - 1))).astype(np.uint16)
        # Two bits for each row count how many it keeps, then two for each column.
        state, kept = (np.zeros(len(blocks), dtype=np.uint16) for _ in range(2))
        for cell in order:
            row, column = (cell >> two) * two, (cell & np.uint16(GROUP - 1)) * two + high
            adds = (np.uint16(1) << row) | (np.uint16(1) << column)
            fits = (state & (adds << np.uint16(1))) == 0
            state += adds * fits
            kept |= fits.astype(np.uint16) << cell
        return (kept[:, None] >> np.arange(cells, dtype=np.uint16) & np.uint16(1)).astype(bool)

    return _by_blocks(weight, keep)


# A sorting network for 16 values (60 comparisons, the fewest known: D. E. Knuth, The Art of
# Computer Programming, volume 3, section 5.3.4).
_SORT_16 = (
    *((0, 13), (1, 12), (2, 15), (3, 14), (4, 8), (5, 6), (7, 11), (9, 10)),
    *((0, 5), (1, 7), (2, 9), (3, 4), (6, 13), (8, 14), (10, 15), (11, 12)),
    *((0, 1), (2, 3), (4, 5), (6, 8), (7, 9), (10, 11), (12, 13), (14, 15)),
    *((0, 2), (1, 3), (4, 10), (5, 11), (6, 7), (8, 9), (12, 14), (13, 15)),
    *((1, 2), (3, 12), (4, 6), (5, 7), (8, 10), (9, 11), (13, 14)),
    *((1, 4), (2, 6), (5, 8), (7, 10), (9, 13), (11, 14)),
    *((2, 4), (3, 6), (9, 12), (11, 13)),
    *((3, 5), (6, 8), (7, 9), (10, 12)),
    *((3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
    *((6, 7), (8, 9)),
)


def mask_2d_best(weight: np.ndarray) -> np.ndarray:
    """In every 4×4 block of outputs × inputs, keep the largest sum with 2 in each row and column.

    The optimum of all 90 such patterns: of the choices for the upper two rows with the same number
    of weights in each column, only the best is considered, and likewise for the lower two.
    """

    def keep(blocks: np.ndarray) -> np.ndarray:
        cells = np.ascontiguousarray(blocks.T).reshape(GROUP, GROUP, -1)
        rows = [[row[i] + row[j] for i, j in _PAIRS] for row in cells]
        upper, lower = (
            {f: _heavier(first, second, _FILLED[f]) for f in _FILLED}
            for first, second in (rows[: GROUP // 2], rows[GROUP // 2 :])
        )
        most, chosen = np.full(len(blocks), -1.0), np.zeros(len(blocks), dtype=np.uint8)
        for filled, first in _FIRST.items():
            above, which_above = upper[filled]
            below, which_below = lower[_rest(filled)]
            total = above + below
            pattern = which_above * np.uint8(len(_FILLED[filled])) + which_below + np.uint8(first)
            _replace(chosen, pattern, total > most)
            np.maximum(total, most, out=most)
        return _PATTERNS.take(chosen, axis=0)

    return _by_blocks(weight, keep, chunk=_CHUNK // 2)


def _heavier(first: list, second: list, choices: list) -> tuple[np.ndarray, np.ndarray]:
    """The largest sum of a pair of the ``first`` row and one of the ``second``, and its index."""
    sums = (first[i] + second[j] for i, j in choices)
    most = next(sums)
    number = np.zeros(len(most), dtype=np.uint8)
    for index, total in enumerate(sums, start=1):
        _replace(number, np.uint8(index), total > most)
        np.maximum(total, most, out=most)
    return most, number


def _replace(numbers: np.ndarray, others: np.ndarray | np.uint8, where: np.ndarray) -> None:
    """Set ``numbers`` (uint8) to ``others`` where ``where`` is True.

    Without branches, which a processor cannot predict here: takes a tenth of np.copyto's time.
    """
    numbers ^= (numbers ^ others) & np.negative(where.view(np.uint8))


def _rest(filled: tuple[int, ...]) -> tuple[int, ...]:
    """Weights that the lower rows must keep in each column where the upper ones keep ``filled``."""
    return tuple(KEPT - count for count in filled)


# Which two of a row are kept; and, by how many two rows keep in each column, the pairs that do so.
_PAIRS = list(itertools.combinations(range(GROUP), KEPT))
_FILLED: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
for _choice in itertools.product(range(len(_PAIRS)), repeat=2):
    _columns = [column for pair in _choice for column in _PAIRS[pair]]
    _filled = tuple(_columns.count(column) for column in range(GROUP))
    _FILLED.setdefault(_filled, []).append(_choice)
# The 90 patterns [90, 16] bool, grouped by what their upper rows keep; each group's first index.
_FIRST: dict[tuple[int, ...], int] = {}
_KEPT_PAIRS: list[tuple[int, ...]] = []
for _filled, _above in _FILLED.items():
    _FIRST[_filled] = len(_KEPT_PAIRS)
    _KEPT_PAIRS += [(*a, *b) for a, b in itertools.product(_above, _FILLED[_rest(_filled)])]
_PATTERNS = np.array([[c in _PAIRS[p] for p in ps for c in range(GROUP)] for ps in _KEPT_PAIRS])


def wanda(weight: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Keep the 2 of every 4 neighbours along the input channels with the largest |w|·‖x‖.

    ``norms`` [in] are the Euclidean norms of the input channels over images and positions
    (:mod:`.inputs`), as in equation 1 of the paper; a group competes among itself, as in its
    section on N:M sparsity.
    """
    wide = [1] * weight.ndim
    wide[input_axis(weight.shape)] = -1
    return mask_1d(weight * norms.astype(weight.dtype).reshape(wide))


BY_MAGNITUDE: dict[str, Mask] = {
    "mask_1d": mask_1d,
    "mask_2d_greedy": mask_2d_greedy,
    "mask_2d_best": mask_2d_best,
}
BY_INPUTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"wanda": wanda}
ALGORITHMS = (*BY_MAGNITUDE, *BY_INPUTS)


def make(algorithm: str, weight: np.ndarray, norms: np.ndarray | None = None) -> np.ndarray:
    """The mask of ``weight`` by one of the ALGORITHMS; those BY_INPUTS need ``norms``."""
    if algorithm in BY_MAGNITUDE:
        return BY_MAGNITUDE[algorithm](weight)
    if norms is None:
        raise TwoFourError(f"{algorithm} needs the norms of the inputs of the layers")
    return BY_INPUTS[algorithm](weight, norms)


def _matrix(weight: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The weight as a matrix [kernel positions × outputs, inputs], and a function to undo that.

    Outputs vary fastest, so that neighbouring rows are outputs at one kernel position.
    """
    if input_axis(weight.shape) == 0:
        return weight.T, lambda mask: mask.T
    turned = np.moveaxis(weight, (0, 1), (-2, -1))  # [kh, kw, out, in]
    rows = turned.reshape(-1, weight.shape[1])
    return rows, lambda mask: np.moveaxis(mask.reshape(turned.shape), (-2, -1), (0, 1)).copy()


def _by_blocks(weight: np.ndarray, keep: Mask, chunk: int = _CHUNK) -> np.ndarray:
    """The mask that ``keep`` gives for magnitudes of 4×4 blocks, [n, 16] float64 → [n, 16] bool."""
    rows, restore = _matrix(weight)
    padded = _pad(_pad(rows, 1), 0)
    high, wide = padded.shape[0] // GROUP, padded.shape[1] // GROUP
    blocks = padded.reshape(high, GROUP, wide, GROUP).swapaxes(1, 2).reshape(-1, GROUP * GROUP)
    mask = np.empty(blocks.shape, dtype=bool)
    for start in range(0, len(blocks), chunk):
        part = np.abs(blocks[start : start + chunk].astype(np.float64))
        mask[start : start + chunk] = keep(part)
    whole = mask.reshape(high, wide, GROUP, GROUP).swapaxes(1, 2).reshape(padded.shape)
    return restore(whole[: rows.shape[0], : rows.shape[1]])


def _pad(matrix: np.ndarray, axis: int) -> np.ndarray:
    """Zeros appended along ``axis`` up to a multiple of 4."""
    missing = -matrix.shape[axis] % GROUP
    widths = [(0, missing if a == axis else 0) for a in range(matrix.ndim)]
    return np.pad(matrix, widths) if missing else matrix


# --- files ---


def save(path: PathLike, masks: dict[str, np.ndarray]) -> None:
    """Write {weight name: bool array of the weight's shape} as ``.npz``, atomically."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        arrays = {name: masks[name].astype(bool) for name in sorted(masks)}
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(path: PathLike) -> dict[str, np.ndarray]:
    """Read what :func:`save` wrote; TwoFourError if it is missing or damaged."""
    return read_arrays(path)
