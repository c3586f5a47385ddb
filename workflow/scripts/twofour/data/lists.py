"""The dataset stage's artifacts, as every later stage reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..artifacts import CLASSES, CONTENT, DIGESTS, TRAIN_LIST, VAL_LIST
from ..system.errors import TwoFourError
from ..system.files import PathLike, read_arrays, read_json, read_text

_WORDNET = re.compile(r"(n\d{8}) ")
_SEED = 20170508  # the same list gives the same sample; what it is does not matter much


def read_list(path: PathLike) -> tuple[list[str], np.ndarray]:
    """A file list as (paths, labels [n] int64). Raises TwoFourError with the line that is wrong."""
    paths, labels = [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line:
            continue
        name, _, label = line.rpartition(" ")
        if not name or not label.isascii() or not label.isdigit() or len(label) > 9:
            raise TwoFourError(
                f"{path}, line {number}: expected '<path> <label>', not {line[:80]!r}"
            )
        paths.append(name)
        labels.append(int(label))
    if not paths:
        raise TwoFourError(f"{path} lists no images")
    return paths, np.asarray(labels, dtype=np.int64)


class Split(NamedTuple):
    """The images of a list: ``paths`` [n], ``labels`` [n] int64, ``orientations`` [n] uint8.

    The last are EXIF orientations, by which the loader turns the images; 1 is upright.
    """

    paths: list[str]
    labels: np.ndarray
    orientations: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """The artifacts of the dataset stage, read back."""

    train: Split
    val: Split
    classes: list[str]
    content: str  # hash of all images, their classes and splits


def digests(folder: PathLike) -> dict[str, np.ndarray]:
    """{"train": digests [n], "val": digests [m]} of the images' pixels, as 16 bytes each."""
    arrays = read_arrays(Path(folder) / DIGESTS)
    return {name: array.view("V16").ravel() for name, array in arrays.items()}


def classes(folder: PathLike) -> list[str]:
    """The names of the classes, in the order of their labels."""
    return read_text(Path(folder) / CLASSES).split("\n")[:-1]


def numbers(names: Sequence[str]) -> dict[str, int]:
    """{name of a class: its label}; one of ImageNet's is also called by its identifier alone.

    That is n01440764 for "n01440764 tench".
    """
    found = {name: label for label, name in enumerate(names)}
    for label, name in enumerate(names):
        if match := _WORDNET.match(name):
            found.setdefault(match[1], label)
    return found


def read(folder: PathLike) -> Dataset:
    """Read the artifacts in ``folder``; TwoFourError if they do not fit together."""
    folder = Path(folder)
    content, named = read_json(folder / CONTENT), classes(folder)
    train, val = (_split(folder, key, content, named) for key in ("train", "val"))
    return Dataset(train, val, named, content["content_hash"])


def read_training(folder: PathLike) -> Split:
    """The training images alone: the list of validation images is not read."""
    folder = Path(folder)
    return _split(folder, "train", read_json(folder / CONTENT), classes(folder))


def sample(images: Split, count: int) -> Split:
    """``count`` of the images, drawn at random but always the same ones, in the list's order."""
    drawn = np.random.default_rng(_SEED).permutation(len(images.paths))[:count]
    chosen = np.sort(drawn)
    paths = [images.paths[i] for i in chosen]
    return Split(paths, images.labels[chosen], images.orientations[chosen])


def _split(folder: Path, key: str, content: dict, named: list[str]) -> Split:
    path = folder / {"train": TRAIN_LIST, "val": VAL_LIST}[key]
    paths, labels = read_list(path)
    if labels.max() >= len(named):
        raise TwoFourError(
            f"{path} has label {labels.max()}, but {CLASSES} names only {len(named)} classes"
        )
    turned = content["orientations"][key]
    return Split(paths, labels, _orientations(turned, len(paths)))


def _orientations(turned: dict[str, int], count: int) -> np.ndarray:
    result = np.ones(count, np.uint8)
    for position, orientation in turned.items():
        result[int(position)] = orientation
    return result
