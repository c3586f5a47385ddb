"""The images that a user names on a command line: files, folders, lists of paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..data import images, lists, tree
from ..data.images import Verdict
from ..data.lists import Split
from ..system import patterns, pool, progress
from ..system.errors import TwoFourError
from ..system.files import read_text

LISTS = {".txt", ".lst"}
FEW = 16  # images that are looked at without further processes


def gather(names: Iterable[str]) -> list[str]:
    """The image files that ``names`` stand for, in their order, sorted within a folder.

    A name is that of an image, of a folder (with all files below it) or of a text file with a path
    on each line, to which a label may be added, as in the file lists of a run. Raises TwoFourError
    for a name that is none of these.
    """
    found: list[str] = []
    for name in names:
        if os.path.isdir(name):  # noqa: PTH112
            inside = tree.files_below(Path(name))
            if not inside:
                raise TwoFourError(f"the folder {name} is empty")
            found += inside
        elif Path(name).suffix.lower() in LISTS:
            found += _listed(name)
        else:
            found.append(name)
    if not found:
        raise TwoFourError("no images were named")
    return found


def _listed(path: str) -> list[str]:
    """The paths in a list: below the current folder, or that of the list or one that it is in."""
    lines = [line for line in read_text(path).removeprefix("\ufeff").split("\n") if line.strip()]
    if not lines:
        raise TwoFourError(f"{path} lists no images")
    folders = [Path(), *Path(path).absolute().parents]
    for folder in folders:
        for first in (lines[0], lines[0].rpartition(" ")[0]):
            if first and (folder / first).is_file():
                return [str(folder / _without_label(line, folder)) for line in lines]
    raise TwoFourError(
        f"{path}: there is no {lines[0]!r}, the first file that it lists, in this folder or one "
        "that the list lies in"
    )


def _without_label(line: str, folder: Path) -> str:
    without, _, label = line.rpartition(" ")
    labelled = label.isdecimal() and without and not (folder / line).is_file()
    return without if labelled else line


def inspect(paths: Sequence[str], workers: int) -> list[Verdict]:
    """Decode each file in full and judge it, in ``workers`` processes where there are many."""
    if len(paths) <= FEW:
        return [images.inspect(path) for path in paths]
    chunk = max(1, min(64, len(paths) // (8 * workers)))
    with progress.bar(len(paths), "checking images", "img") as bar:
        verdicts = []
        for verdict in pool.ordered(images.inspect, paths, workers, chunk):
            verdicts.append(verdict)
            bar.update()
    return verdicts


def split(
    paths: Sequence[str], labels: Sequence[int], verdicts: Sequence[Verdict], turns: bool
) -> Split:
    """What a loader takes; with ``turns``, images are turned as their EXIF orientation says."""
    upright = images.UPRIGHT
    orientations = [verdict.orientation if turns else upright for verdict in verdicts]
    return Split(list(paths), np.asarray(labels, np.int64), np.asarray(orientations, np.uint8))


def labelled(root: str, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    """The files in <root>/<class>/, and the number of each one's class among ``classes``.

    ``root`` may also hold val/<class>/ beside train/<class>/; then it is val. A class may lack, but
    none may be there that the model does not know: TwoFourError.
    """
    folder = Path(root)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise TwoFourError(f"{root} {what}; name the folder that holds <class>/<image>")
    inside = tree.subfolders(folder)
    if set(inside) & {"train", "val"} and "val" in inside and "val" not in classes:
        folder, inside = folder / "val", tree.subfolders(folder / "val")
    if not inside:
        raise TwoFourError(f"{folder} has no folders of classes; it should hold <class>/<image>")
    numbers = lists.numbers(classes)
    taken: dict[int, str] = {}
    paths: list[str] = []
    labels: list[int] = []
    for name in inside:
        if name not in numbers:
            near = patterns.nearest(name, numbers)
            hint = f"did you mean {near}?" if near else f"it knows {_some(classes)}"
            raise TwoFourError(
                f"{folder} has the class {tree.shown(name)!r}, which the model does not know; "
                f"{hint}"
            )
        if (other := taken.setdefault(numbers[name], name)) != name:
            raise TwoFourError(f"{folder} has two folders for one class, {other} and {name}")
        found = tree.files_below(folder / name)
        paths += found
        labels += [numbers[name]] * len(found)
    if not paths:
        raise TwoFourError(f"the folders in {folder} are empty")
    return paths, labels


def _some(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:5])
    return shown if len(classes) <= 5 else f"{shown} and {len(classes) - 5} more"
