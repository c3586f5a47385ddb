"""The folder of images: which files it holds, in which split and class.

Names decide what a network learns, so whatever could be a split, a class or neither is refused in a
sentence that asks, instead of becoming another experiment.
"""

from __future__ import annotations

import collections
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..system.errors import TwoFourError
from .settings import Data

SPLITS = ("train", "val")
# Names that others give to the two, in lower case and without what is not a letter.
_TRAIN_LIKE = re.compile(r"train(ing)?(set|data|images|imgs|split)?")
_VAL_LIKE = re.compile(
    r"(val|valid|validation|validate|test|testing|dev|eval|evaluation|holdout)"
    r"(set|data|images|imgs|split)?"
)
# What file managers and network storage leave in every folder; and whatever starts with a dot.
_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"}
_LISTERS = 16  # at a time look at folders and files: a network file system serves many at once
_AT_A_TIME = 1000  # files that one of them looks at
_QUICK_S = 50e-6  # a file: looking at it takes 3 µs on a local disk, 200 µs and more on a network


@dataclass(frozen=True)
class Entry:
    """One file: its split ("train" or "val"), class name, and path as the file lists hold it."""

    split: str
    label: str
    path: str


def scan(root: str, flat_val: dict[str, str] | None = None) -> list[Entry]:
    """All files of an ImageFolder tree, sorted; ``split`` is "" where the tree has only one.

    Accepts train/<class>/<file> with or without val/<class>/<file>, or <class>/<file> alone. Files
    may be in subfolders of their class. Litter (:func:`is_litter`) is skipped. ``flat_val`` is the
    class of each file in a val folder without class folders. Raises TwoFourError if there is no
    such tree, if its names leave open what is a split, a class folder is empty, or the splits'
    classes differ.
    """
    base = require_folder(root)
    splits = _splits(base)
    entries: list[Entry] = []
    classes: dict[str, list[str]] = {}
    for split, folder in splits.items():
        if split == "val" and flat_val:
            classes[split] = sorted(set(flat_val.values()))
            names = sorted(flat_val)
            entries += [Entry(split, flat_val[n], os.path.join(folder, n)) for n in names]
            continue
        classes[split] = subfolders(folder)
        if not classes[split]:
            raise TwoFourError(_no_classes(folder, split))
        with ThreadPoolExecutor(_LISTERS) as pool:
            listed = pool.map(files_below, [folder / label for label in classes[split]])
            for label, files in zip(classes[split], listed):
                if not files:
                    raise TwoFourError(
                        f"class {shown(label)!r} is empty: no file in {shown(folder / label)}; "
                        "add images or remove the folder"
                    )
                entries += [Entry(split, label, path) for path in files]
        if len(classes[split]) == 1:
            _refuse_one_class(folder, classes[split][0])
    require_same_classes(classes, root)
    return entries


def require_same_classes(classes: Mapping[str, Iterable[str]], root: str) -> None:
    """Raise TwoFourError if both splits are there, and their ``classes`` differ."""
    if len(classes) < len(SPLITS):
        return
    only = {s: sorted(set(classes[s]) - set(classes[o])) for s, o in (SPLITS, SPLITS[::-1])}
    if any(only.values()):
        parts = [
            f"only in {s}: {', '.join(map(shown, names[:5]))}" for s, names in only.items() if names
        ]
        raise TwoFourError(
            f"the classes of {root}/train and {root}/val differ ({'; '.join(parts)})"
        )


def state(root: str) -> str:
    """A hash of the names and sizes of the files that :func:`scan` finds, and of nothing else.

    It shows cheaply whether images were added, removed or replaced. Raises TwoFourError as it does.
    """
    begin = len(str(Path(root)))  # with which all paths begin
    paths = [entry.path for entry in scan(root)]
    parts = [paths[i : i + _AT_A_TIME] for i in range(0, len(paths), _AT_A_TIME)]
    digest = hashlib.sha256()
    for part, sizes in zip(parts, _sizes_of(parts)):
        lines = (f"{path[begin:]}\0{size}\n" for path, size in zip(part, sizes))
        digest.update(os.fsencode("".join(lines)))
    return digest.hexdigest()


def names(root: str) -> str:
    """A hash of the names of all files below ``root``; "" if there is no such folder.

    It asks the file system about folders only: the sizes of a million files would take too long.
    """
    if not Path(root).is_dir():
        return ""
    base = str(Path(root))
    digest = hashlib.sha256()
    for path in files_below(Path(root)):
        digest.update(os.fsencode(f"{path[len(base) + 1 :]}\n"))
    return digest.hexdigest()


def is_split(word: str) -> bool:
    """Whether others call a split like this: training, test, dev …"""
    return _like(_TRAIN_LIKE, word) or _like(_VAL_LIKE, word)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name counts as nothing: .DS_Store, Thumbs.db …"""
    return name.startswith(".") or name.lower() in _LITTER


def require_apart(root: str, others: Iterable[str | Path]) -> None:
    """Raise TwoFourError if the folder of images contains one of ``others``, such as results."""
    base = Path(root).resolve()
    for other in others:
        if Path(other).resolve().is_relative_to(base):
            raise TwoFourError(
                f"data.root: {base} contains {Path(other).resolve()}, where results or this "
                "workflow lie, which would count as images; move the images to a folder of their "
                "own"
            )


def nested(entries: list[Entry]) -> list[str]:
    """Names of folders that may be the classes, if all images lie one level deeper.

    That is so if no class has a file of its own, and no two share the name of a subfolder; empty
    otherwise. The names are <class>/<subfolder>.
    """
    owners: dict[str, str] = {}
    for entry in entries:
        parts = Path(entry.path).parts
        inner = parts[len(parts) - parts[::-1].index(entry.label) :]
        if len(inner) != 2 or owners.setdefault(inner[0], entry.label) != entry.label:
            return []
    if not owners or min(collections.Counter(owners.values()).values()) < 2:
        return []
    return sorted(f"{label}/{name}" for name, label in owners.items())


def shown(path: str | Path) -> str:
    """A name for messages and tables, with \\xe9 for bytes that are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def require_folder(root: str) -> Path:
    """The folder ``root`` of images; TwoFourError if there is none."""
    base = Path(root)
    if not base.is_dir():
        what = "is not a folder" if base.exists() else "does not exist"
        raise TwoFourError(
            f"data.root: {shown(base.absolute())} {what}; name the folder that holds your images"
        )
    return base


def _splits(base: Path) -> dict[str, Path]:
    """{split: its folder}; the only one is called ""."""
    found = subfolders(base)
    alike = [n for n in found if _like(_TRAIN_LIKE, n) or _like(_VAL_LIKE, n)]
    # A folder "train" or "test" of images beside others is a class (bus, car, train).
    suspects = alike if len(alike) == len(found) else [n for n in alike if subfolders(base / n)]
    if not suspects:
        return {"": base}
    if "train" in suspects and ("val" in suspects or suspects == ["train"]):
        both = "val" in suspects
        return {name: base / name for name in SPLITS} if both else {"": base / "train"}
    others = {
        split: [name for name in suspects if name not in SPLITS and _like(pattern, name)]
        for split, pattern in zip(SPLITS, (_TRAIN_LIKE, _VAL_LIKE))
        if split not in suspects
    }
    if not any(others.values()):
        raise TwoFourError(f"data.root: {base} has a folder val but no folder train beside it")
    renames = [f"{' or '.join(map(shown, n))} to {split}" for split, n in others.items() if n]
    raise TwoFourError(
        f"data.root: {base} has the folders {_listed(suspects)}; are they training and validation "
        f"sets? Then rename {' and '.join(renames)}, and move what is neither out of {base}"
    )


def _like(pattern: re.Pattern, name: str) -> bool:
    return pattern.fullmatch(re.sub(r"[^a-z]", "", name.lower())) is not None


def _listed(names: list[str]) -> str:
    return " and ".join(shown(name) for name in names)


def _no_classes(folder: Path, split: str) -> str:
    with os.scandir(folder) as found:
        files = sum(1 for entry in found if entry.is_file() and not is_litter(entry.name))
    if not files:
        return f"no class folders in {folder}: expected one folder of images for each class"
    remedy = "move them into one folder for each class"
    if split == "val":
        remedy += "; for ImageNet as it is delivered set data.source to ilsvrc2012"
    return f"no class folders in {folder}, but {files} files: {remedy}"


def _refuse_one_class(folder: Path, label: str) -> None:
    inner = subfolders(folder / label)
    hint = ""
    if len(inner) > 1:
        hint = f": if {_listed(inner[:2])} are classes, name {shown(folder / label)}"
    raise TwoFourError(
        f"{folder} has only one class ({shown(label)}), and a classifier needs two{hint}"
    )


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, sorted, without litter."""
    try:
        with os.scandir(folder) as found:
            names = [e.name for e in found if e.is_dir() and not is_litter(e.name)]
    except OSError as error:
        _unreadable(error)
    for name in names:
        if "\n" in name or "\r" in name:
            raise TwoFourError(f"class folder {str(folder / name)!r} has a line break in its name")
    return sorted(names)


def files_below(folder: Path) -> list[str]:
    """All files below ``folder``, sorted; links are followed, except in loops."""
    result = []
    seen = set()
    for current, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        identity = os.path.realpath(current)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = [n for n in folders if not is_litter(n)]
        result += [os.path.join(current, n) for n in files if not is_litter(n)]
    return sorted(result)


def _unreadable(error: OSError) -> None:
    """Raise TwoFourError: a folder that cannot be listed would silently be left out."""
    raise TwoFourError(f"cannot read the folder {error.filename}: {error.strerror}") from error


def _sizes_of(parts: list[list[str]]) -> Iterator[list[int]]:
    """The sizes of the files of each part, by many threads where the file system is slow.

    Where it is not, threads would take half as long again, since they wait for each other.
    """
    start = time.perf_counter()
    yield _sizes(parts[0])
    if time.perf_counter() - start < _QUICK_S * len(parts[0]):
        yield from map(_sizes, parts[1:])
        return
    with ThreadPoolExecutor(_LISTERS) as pool:
        yield from pool.map(_sizes, parts[1:])


def _sizes(paths: list[str]) -> list[int]:
    """The sizes of files in bytes; -1 for what cannot be looked at."""
    found = []
    for path in paths:
        try:
            found.append(os.stat(path).st_size)
        except OSError:
            found.append(-1)
    return found


def require_root(data: Data) -> str:
    """The folder with the user's images, ``data.root``; TwoFourError if none is named."""
    if data.root is None:
        raise TwoFourError(
            "data.root is missing: name the folder with your images, "
            "or set data.source to digits for the built-in ones"
        )
    return data.root
