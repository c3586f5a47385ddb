"""DALI's readers of undecoded images, which tell each image's position in the file list.

Two kinds, for images in files of their own and for members of tar files. Both give each image once
an epoch, whatever the order, and their state is part of a pipeline's checkpoint.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from nvidia.dali import fn, types

from ..system.errors import TwoFourError
from .members import Member, parse

READER = "reader"
_ORIENTATIONS = 8  # a label of the reader is position × 8 + EXIF orientation - 1


class Source(Protocol):
    """The images of a list, from which a pipeline reads."""

    def read(self, shuffle: bool, buffer: Callable[[], int], **options) -> tuple[Any, Any, Any]:
        """Within a pipeline: (undecoded images, orientations - 1 or None, what tells positions).

        With ``shuffle``, another order each epoch; ``buffer()`` is the number of images among which
        it is drawn where files are read as they lie. ``options`` are those of all DALI's readers.
        """

    def positions(self, told: Any, count: int) -> np.ndarray:
        """The positions [count] int64 of the first images of a batch, from its last output."""

    def close(self) -> None:
        """The pipeline is built."""


class _Files:
    def __init__(self, paths: list[str], order: np.ndarray, orientations: np.ndarray) -> None:
        self._paths = paths
        self._labels = (order * _ORIENTATIONS + orientations[order] - 1).tolist()
        self._turn = bool((orientations != 1).any())

    def read(self, shuffle: bool, buffer: Callable[[], int], **options) -> tuple[Any, Any, Any]:
        encoded, label = fn.readers.file(
            name=READER,
            files=self._paths,
            labels=self._labels,
            shuffle_after_epoch=shuffle,
            dont_use_mmap=True,  # a sixth faster for small files, and no SIGBUS where one shrinks
            **options,
        )
        position = label // _ORIENTATIONS
        orientation = (label - position * _ORIENTATIONS)[0] if self._turn else None
        return encoded, orientation, position

    def positions(self, told: Any, count: int) -> np.ndarray:
        return to_numpy(told).astype(np.int64).ravel()[:count]

    def close(self) -> None:
        pass


def of(paths: Sequence[str], orientations: np.ndarray, seed: int | None) -> Source:
    """The images of a list, from the order that ``seed`` draws on, or else in that of the list.

    Members of tar files come from one tar file after the other; the seed draws the order of these.
    """
    in_tars = bool(paths) and parse(paths[0]) is not None
    return (_in_tars if in_tars else _in_files)(paths, orientations, seed)


def _in_files(paths: Sequence[str], orientations: np.ndarray, seed: int | None) -> Source:
    order = np.arange(len(paths))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(paths))
    return _Files([paths[i] for i in order.tolist()], order, orientations)


class _Tars:
    """Members of tar files by DALI's reader for WebDataset, which follows our own index files.

    An index file names for each sample its components, with extension, offset, size and name. Ours
    is the image, whose name is the position in the list, and as many bytes of it as its EXIF
    orientation says, since nothing else of the index comes out of the reader.
    """

    _IMAGE, _MARK = "image", "mark"

    def __init__(self, order: Sequence[int], found: Sequence[Member], orientations: np.ndarray):
        self._folder = Path(tempfile.mkdtemp(prefix="twofour-index-"))
        self._turn = bool((orientations != 1).any())
        self._tars: list[str] = []
        self._indices: list[str] = []
        for tar, group in itertools.groupby(order, key=lambda i: found[i].tar):
            lines = [self._line(i, found[i], int(orientations[i])) for i in group]
            index = self._folder / str(len(self._indices))
            index.write_text(f"v1.2 {len(lines)}\n" + "\n".join(lines) + "\n", encoding="utf-8")
            self._tars.append(tar)
            self._indices.append(str(index))

    def _line(self, position: int, member: Member, orientation: int) -> str:
        line = f"{self._IMAGE} {member.offset} {member.size} {position}"
        return f"{line} {self._MARK} {member.offset} {orientation} x" if self._turn else line

    def read(self, shuffle: bool, buffer: Callable[[], int], **options) -> tuple[Any, Any, Any]:
        found: Any = fn.readers.webdataset(
            name=READER,
            paths=self._tars,
            index_paths=self._indices,
            ext=[self._IMAGE, self._MARK] if self._turn else [self._IMAGE],
            random_shuffle=shuffle,
            initial_fill=buffer() if shuffle else 1,
            dont_use_mmap=False,  # without it DALI 1.34 does not tell where a sample is from
            **options,
        )
        encoded, *marks = found if self._turn else [found]
        orientation = None
        if marks:
            orientation = fn.cast(fn.shapes(marks[0])[0], dtype=types.INT32) - 1
        return encoded, orientation, fn.get_property(encoded, key="source_info")

    def positions(self, told: Any, count: int) -> np.ndarray:
        # Each is <tar file>:<offset>:<position>; those that fill up a batch say nothing.
        texts = [np.asarray(told.at(i)).tobytes() for i in range(count)]
        return np.array([int(text.rpartition(b":")[2]) for text in texts], np.int64)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _in_tars(paths: Sequence[str], orientations: np.ndarray, seed: int | None) -> Source:
    found = [_member(path) for path in paths]
    order = list(range(len(paths)))
    if seed is not None:
        tars = sorted({member.tar for member in found})
        drawn = np.random.default_rng(seed).permutation(len(tars)).tolist()
        place = dict(zip(tars, drawn))
        order.sort(key=lambda i: (place[found[i].tar], found[i].offset))
    return _Tars(order, found, orientations)


def _member(path: str) -> Member:
    member = parse(path)
    if member is None:
        raise TwoFourError(f"the file lists have members of tar files, but also {path}")
    return member


def to_numpy(batch: Any) -> np.ndarray:
    """A batch of DALI's, where all images have the same shape, without copying."""
    if hasattr(batch, "as_cpu"):
        batch = batch.as_cpu()
    return np.asarray(batch.as_tensor())  # as_array() would copy
