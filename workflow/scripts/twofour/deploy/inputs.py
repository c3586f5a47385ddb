"""The images that a user names on a command line: files, folders, lists of paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..data import images, tree
from ..data.images import Verdict
from ..data.lists import Split
from ..system import patterns, pool, progress
from ..system.errors import TwoFourError
from ..system.files import read_text

LISTS = {".txt", ".lst", ".csv"}
FEW = 16  # images that are looked at without further processes


def gather(names: Iterable[str]) -> list[str]:
    """The image files that ``names`` stand for, in their order, sorted within a folder.

    A name is that of an image, of a folder (with all below it) or of a text file with a path on
    each line, to which a label may be added, as in the file lists of a run. Raises TwoFourError for
    a name that is none of these.
    """
    found: list[str] = []
    for name in names:
        if os.path.isdir(name):  # noqa: PTH112
            inside = tree.files_below(Path(name))
            known = [p for p in inside if Path(p).suffix.lower() in images.KNOWN_EXTENSIONS]
            if not known:
                raise TwoFourError(f"the folder {name} holds no images")
            found += known
        elif Path(name).suffix.lower() in LISTS:
            found += _listed(name)
        else:
            found.append(name)
    if not found:
        raise TwoFourError("no images were named")
    return found


def _listed(path: str) -> list[str]:
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    if not lines:
        raise TwoFourError(f"{path} lists no images")
    result = []
    for line in lines:
        without, _, label = line.rpartition(" ")
        named = label.isdigit() and without and not os.path.exists(line)  # noqa: PTH110
        result.append(without if named else line)
    return result


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
    numbers = {name: number for number, name in enumerate(classes)}
    for number, name in enumerate(classes):  # "n01440764 tench" is in the folder n01440764
        numbers.setdefault(name.partition(" ")[0], number)
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
        found = tree.files_below(folder / name)
        paths += found
        labels += [numbers[name]] * len(found)
    if not paths:
        raise TwoFourError(f"the folders in {folder} are empty")
    return paths, labels


def _some(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:5])
    return shown if len(classes) <= 5 else f"{shown} and {len(classes) - 5} more"
