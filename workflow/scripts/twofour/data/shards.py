"""Images in tar files, as WebDataset keeps them: which there are, in which split and class.

A sample is all members of the same name up to the first dot after the last slash; its image is one
of them, and its class is in another, which ends in .cls: a number or a name. Without one, the
folder in the tar file is the class. (WebDataset, "The WebDataset Format".)
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..system import pool
from ..system.errors import TwoFourError
from ..system.files import read_text
from . import tree
from .formats import KNOWN_EXTENSIONS
from .members import Member
from .tree import Entry, shown

NAMES = "classes.txt"
_CLASS = "cls"
_BLOCK = 512  # bytes; a tar file consists of such blocks (POSIX.1-2017, pax, ustar format)
_MOST_CLASS_BYTES = 1000
_SAMPLED = 8  # tar files of a split that are opened to estimate how many images there are
# What the words of a tar file's name may call a split.
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")


class Sample(NamedTuple):
    """An image in a tar file, and the name of its class as it stands there."""

    image: Member
    label: str


def state(root: str) -> str:
    """A hash of the names, sizes and times of the tar files and of classes.txt below ``root``.

    A tar file is padded, so that one of another content may have the same size. Raises TwoFourError
    as :func:`scan` does.
    """
    digest = hashlib.sha256()
    paths = [path for tars in _tars(root).values() for path in tars]
    for path in [*paths, *_named(root)]:
        found = os.stat(path)
        name = Path(path).relative_to(root)
        digest.update(os.fsencode(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n"))
    return digest.hexdigest()


def scan(root: str, workers: int) -> tuple[list[Entry], dict[str, str]]:
    """All images in the tar files below ``root``, and {class: its readable name}.

    The names or folders of the tar files of each split say train or val; if none does, ``split`` is
    "". Classes that are all numbers are sorted as numbers; their names are the lines
    of classes.txt in ``root``, the first being that of 0, if there is one.

    Raises TwoFourError, naming the file, for a tar file that is damaged or compressed, an image
    without a class, and names that leave open what is a split.
    """
    found = [
        (split, sample)
        for split, paths in _tars(root).items()
        for samples in pool.ordered(samples_of, paths, workers)
        for sample in samples
    ]
    if not found:
        raise TwoFourError(f"data.root: the tar files in {shown(root)} hold no images")
    classes, words = _classes({sample.label for _, sample in found}, root)
    entries = [Entry(split, classes[sample.label], sample.image.path) for split, sample in found]
    if len(set(classes.values())) == 1:
        raise TwoFourError(
            f"data.root: all images in the tar files in {shown(root)} are of class "
            f"{shown(entries[0].label)}, and a classifier needs two"
        )
    by_split: dict[str, set[str]] = {}
    for entry in entries:
        by_split.setdefault(entry.split, set()).add(entry.label)
    tree.require_same_classes(by_split, root)
    return entries, words


def _classes(labels: set[str], root: str) -> tuple[dict[str, str], dict[str, str]]:
    """({label as it stands in the tar files: class}, {class: its readable name})."""
    if not all(label.isascii() and label.isdigit() for label in labels):
        return {label: label for label in labels}, {}
    names, highest = _names(root), max(map(int, labels))
    if names and highest >= len(names):
        raise TwoFourError(
            f"{Path(root, NAMES)} names {len(names)} classes, but there are images of class "
            f"{highest}, which would be line {highest + 1}"
        )
    digits = len(str(max(highest, len(names) - 1)))  # so that they are sorted as numbers
    classes = {label: str(int(label)).zfill(digits) for label in labels}
    return classes, {classes[label]: names[int(label)] for label in labels if names}


def count(root: str, fraction: float) -> tuple[int, int, int]:
    """About how many training images, validation images and classes there are, quickly.

    Only some of many tar files are opened. ``fraction`` is that of validation images if there is
    one split.
    """
    images: dict[str, int] = {}
    labels: set[str] = set()
    for split, paths in _tars(root).items():
        step = max(1, len(paths) // _SAMPLED)
        opened = paths[::step]
        samples = [sample for path in opened for sample in samples_of(path)]
        labels.update(sample.label for sample in samples)
        seen, there = (sum(os.stat(p).st_size for p in some) for some in (opened, paths))
        images[split] = round(len(samples) * there / seen)
    if "" in images:
        images["val"] = round(fraction * images[""])
        images["train"] = images[""] - images["val"]
    return images["train"], images.get("val", 0), max(2, len(_names(root)), len(labels))


def samples_of(path: str) -> list[Sample]:
    """The samples with an image in the tar file at ``path``, as they follow each other there."""
    images: dict[str, dict[str, Member]] = {}
    classes: dict[str, str] = {}
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            for info in tar:
                _read_header(tar, info, path, size, images, classes)
            file.seek(tar.offset)
            last = file.read(_BLOCK)
    except tarfile.TarError as error:
        raise TwoFourError(f"{shown(path)} is not a plain tar file, or damaged: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise TwoFourError(f"{shown(path)} cannot be read: {reason}") from error
    if last != bytes(_BLOCK):  # tarfile stops at what it cannot read, without an error
        raise TwoFourError(
            f"{shown(path)} is cut off or damaged: after {len(images)} images there is neither "
            "another member nor the end mark of a tar file; copy it again"
        )
    return [
        Sample(image, _label(classes, key, path))
        for key, found in images.items()
        for image in (_images(found, key, path) if key in classes else found.values())
    ]


def _read_header(tar, info, path: str, size: int, images: dict, classes: dict) -> None:
    """Note what the member ``info`` of a tar file of ``size`` bytes is."""
    folder, _, name = info.name.rpartition("/")
    key, _, extension = name.partition(".")
    if not info.isreg() or tree.is_litter(name) or not key:
        return
    if info.issparse():
        raise TwoFourError(f"{shown(path)}: {info.name} is stored as a sparse file")
    if info.offset_data + info.size > size:
        raise TwoFourError(f"{shown(path)} ends in the middle of {info.name}; copy it again")
    key = f"{folder}/{key}" if folder else key
    if extension.lower() == _CLASS:
        content = tar.extractfile(info).read(_MOST_CLASS_BYTES)
        classes[key] = content.decode("utf-8", "replace").strip()
    elif f".{extension.rpartition('.')[2].lower()}" in KNOWN_EXTENSIONS:
        member = Member(path, info.offset_data, info.size, info.name)
        images.setdefault(key, {})[extension] = member


def _images(found: dict[str, Member], key: str, path: str) -> list[Member]:
    """The image of a sample: the one whose extension has no further dot, if there are several."""
    chosen = [extension for extension in found if "." not in extension] or list(found)
    if len(chosen) > 1:
        raise TwoFourError(
            f"{shown(path)}: the sample {key} has {len(chosen)} images ({', '.join(chosen)}), and "
            "it is not clear which one is meant"
        )
    return [found[chosen[0]]]


def _label(classes: dict[str, str], key: str, path: str) -> str:
    label = classes.get(key, key.rpartition("/")[0].rpartition("/")[2])
    if not label or "\n" in label:
        raise TwoFourError(
            f"{shown(path)}: the image {key} has no class: put {key}.{_CLASS} beside it, with the "
            "class's number or name in it, or the image into a folder named after it"
        )
    return label


def _tars(root: str) -> dict[str, list[str]]:
    """{split: its tar files, sorted}; the only one is called ""."""
    base = tree.require_folder(root)
    found: dict[str, list[str]] = {}
    for path in tree.files_below(base):
        if path.endswith(_COMPRESSED):
            raise TwoFourError(f"{shown(path)} is compressed; unpack it to a plain tar file")
        if path.endswith(".tar"):
            found.setdefault(_split_of(path, base), []).append(path)
    if not found:
        raise TwoFourError(f"data.root: there is no tar file (*.tar) in {shown(base.absolute())}")
    if set(found) == {""}:
        return found
    if "" in found:
        raise TwoFourError(
            f"data.root: {shown(found[''][0])} is neither for training nor for validation by its "
            "name; the names (or folders) of all tar files say train or val, or none does"
        )
    if "train" not in found:
        raise TwoFourError(f"data.root: {shown(base)} has tar files for val, but none for train")
    return found if "val" in found else {"": found["train"]}


def _split_of(path: str, base: Path) -> str:
    """The split that a tar file's name and folders say: "train", "val", or "" for none."""
    inside = str(Path(path).relative_to(base)).removesuffix(".tar").lower()
    words = re.findall("[a-z]+", inside)
    unclear = [word for word in words if tree.is_split(word) and word not in _SPLITS]
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    if unclear or len(splits) > 1:
        raise TwoFourError(
            f"data.root: is {shown(path)} for training or for validation? Let its name or folder "
            "say train or val, or move it out"
        )
    return splits.pop() if splits else ""


def _named(root: str) -> list[str]:
    path = Path(root, NAMES)
    return [str(path)] if path.is_file() else []


def _names(root: str) -> list[str]:
    """The readable names of the classes, by number."""
    return [line.strip() for path in _named(root) for line in read_text(path).splitlines()]


def mixed(entries: Iterable[Entry]) -> bool:
    """Whether the tar files hold images of several classes, as they must to be shuffled."""
    classes: dict[str, set[str]] = {}
    for entry in entries:
        if entry.split != "val":
            tar = entry.path.partition(".tar@")[0]
            classes.setdefault(tar, set()).add(entry.label)
    alone = sum(len(found) == 1 for found in classes.values())
    return 2 * alone <= len(classes) or len(classes) == 1
