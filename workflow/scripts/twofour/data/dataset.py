"""From a folder of images to checked, labelled file lists."""

from __future__ import annotations

import collections
import csv
import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ..artifacts import CLASSES, DATASET, REFUSED, REJECTED, TRAIN_LIST, VAL_LIST
from ..system import pool, progress
from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import sha256, write_json, write_text
from . import images, records
from .settings import Data

SPLITS = ("train", "val")
LISTS = {"train": TRAIN_LIST, "val": VAL_LIST}
_LISTERS = 16  # folders that are listed at a time
NAMED = 20  # leaks and duplicates that dataset.json names; it counts all of them


@dataclass(frozen=True)
class Entry:
    """One file: its split ("train" or "val"), class name, and path as the file lists hold it."""

    split: str
    label: str
    path: str


def scan(root: str, flat_val: dict[str, str] | None = None) -> list[Entry]:
    """All files of an ImageFolder tree, sorted; ``split`` is "" where the tree has only one.

    Accepts train/<class>/<file> with or without val/<class>/<file>, or <class>/<file> alone. Files
    may be in subfolders of their class. Names that start with a dot are skipped. ``flat_val`` is
    the class of each file in a val folder without class folders. Raises TwoFourError if there is no
    such tree, a class folder is empty, or the splits' classes differ.
    """
    base = Path(root)
    if not base.is_dir():
        what = "is not a folder" if base.exists() else "does not exist"
        raise TwoFourError(f"data.root: {root} {what}; name the folder that holds your images")
    splits = {name: base / name for name in SPLITS if (base / name).is_dir()}
    if "val" in splits and "train" not in splits:
        raise TwoFourError(f"data.root: {root} has a folder val but no folder train beside it")
    if set(splits) != set(SPLITS):
        splits = {"": splits.get("train", base)}

    entries: list[Entry] = []
    classes: dict[str, list[str]] = {}
    for split, folder in splits.items():
        if split == "val" and flat_val:
            classes[split] = sorted(set(flat_val.values()))
            names = sorted(flat_val)
            entries += [Entry(split, flat_val[n], os.path.join(folder, n)) for n in names]
            continue
        classes[split] = _subfolders(folder)
        if not classes[split]:
            raise TwoFourError(
                f"no class folders in {folder}: expected one folder of images for each class"
            )
        with ThreadPoolExecutor(_LISTERS) as pool:  # a network file system serves many at once
            listed = pool.map(_files, [folder / label for label in classes[split]])
            for label, files in zip(classes[split], listed):
                if not files:
                    raise TwoFourError(
                        f"class {label!r} is empty: no file in {folder / label}; "
                        "add images or remove the folder"
                    )
                entries += [Entry(split, label, path) for path in files]
    if len(classes) == 2:
        only = {s: sorted(set(classes[s]) - set(classes[o])) for s, o in (SPLITS, SPLITS[::-1])}
        if any(only.values()):
            parts = [f"only in {s}: {', '.join(names[:5])}" for s, names in only.items() if names]
            raise TwoFourError(
                f"the classes of {root}/train and {root}/val differ ({'; '.join(parts)})"
            )
    return entries


def fingerprint(root: str, sizes: bool = True) -> str:
    """A hash of the names and sizes of all files below ``root`` ("" if there is no such folder).

    It shows cheaply whether images were added, removed or replaced. Without ``sizes`` it
    asks the file system about folders only: a million files would take too long.
    """
    if not Path(root).is_dir():
        return ""
    digest = hashlib.sha256()
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        identity = os.path.realpath(folder)
        if identity in seen:  # a loop of links
            names.clear()
            continue
        seen.add(identity)
        names.sort()
        relative = os.path.relpath(folder, root)
        for name in sorted(files):
            size = _size(os.path.join(folder, name)) if sizes else 0
            digest.update(os.fsencode(f"{relative}/{name}\0{size}\n"))
    return digest.hexdigest()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def check(entries: list[Entry], workers: int, folder: Path) -> list[images.Verdict]:
    """Judge every file, ``workers`` at a time; one verdict for each entry, in their order.

    Files are decoded, except those unchanged since an earlier check, whose verdicts are in
    ``folder``. What a check has found is kept there even if it is killed.
    """
    code = sha256(images.__file__)
    with records.open_records(folder, code) as known:
        times = {}
        verdicts: list[images.Verdict | None] = []
        for entry in entries:
            try:
                found = os.stat(entry.path)
            except OSError:
                verdicts.append(None)
                continue
            verdict = known.find(entry.path, found.st_size, found.st_mtime_ns)
            verdicts.append(verdict)
            if verdict is None:
                times[entry.path] = found.st_mtime_ns
        pending = [i for i, verdict in enumerate(verdicts) if verdict is None]
        if len(pending) < len(entries):
            log.info(
                "%d of %d files are unchanged since they were last checked",
                len(entries) - len(pending),
                len(entries),
            )
        paths = [entries[i].path for i in pending]
        for i, verdict in zip(pending, _inspect(paths, workers)):
            verdicts[i] = verdict
            if entries[i].path in times:
                known.add(entries[i].path, times[entries[i].path], verdict)
        known.forget_others(entry.path for entry in entries)
    return cast("list[images.Verdict]", verdicts)  # none is left out


def _inspect(paths: list[str], workers: int) -> Iterator[images.Verdict]:
    if not paths:
        return
    chunk = max(1, min(256, len(paths) // (8 * workers)))
    bar = progress.bar(len(paths), "checking images", "img")
    with bar:
        for verdict in pool.ordered(images.inspect, paths, workers, chunk):
            yield verdict
            bar.update()


def split_validation(entries: list[Entry], fraction: float, seed: int) -> list[Entry]:
    """Assign a seeded random share of each class to "val" and the rest to "train".

    Each class gives round(fraction · n) images, at least one to either side. Raises TwoFourError
    for a class with a single image.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Entry]] = collections.defaultdict(list)
    for entry in entries:
        groups[entry.label].append(entry)
    result = []
    for label in sorted(groups):
        group = groups[label]
        if len(group) < 2:
            raise TwoFourError(
                f"class {label!r} has only one usable image, which cannot be split into training "
                "and validation; add images or make a val folder"
            )
        count = min(max(round(fraction * len(group)), 1), len(group) - 1)
        chosen = set(rng.permutation(len(group))[:count].tolist())
        for index, entry in enumerate(group):
            split = "val" if index in chosen else "train"
            result.append(Entry(split, entry.label, entry.path))
    return sorted(result, key=_order)


def prepare(
    root: str,
    out: str,
    data: Data,
    seed: int,
    workers: int,
    flat_val: dict[str, str] | None = None,
    words: dict[str, str] | None = None,
) -> dict:
    """The whole dataset stage: scan, check, split, and write the artifacts into ``out``.

    ``data`` is the config's section; for ``flat_val`` see :func:`scan`; ``words`` are readable
    names of the classes, which classes.txt then has beside their own. Returns what dataset.json
    holds. If the stage fails because of rejected files, they are listed in refused.csv, which is
    not an output: Snakemake deletes the outputs of a failed job.
    """
    entries = scan(root, flat_val)
    verdicts = check(entries, workers, Path(out))
    rejected = [(e.path, v.reason) for e, v in zip(entries, verdicts) if v.reason]
    table = _csv([("path", "reason"), *rejected])
    refused = Path(out) / REFUSED
    write_text(refused, table)
    good = {e.path: v for e, v in zip(entries, verdicts) if not v.reason}
    _refuse_too_many(rejected, len(entries), data.max_rejected, out)
    kept = [e for e in entries if e.path in good]
    _refuse_emptied_classes(entries, kept, out)
    refused.replace(Path(out) / REJECTED)
    if kept[0].split == "":
        kept = split_validation(kept, data.val_fraction, seed)

    classes = sorted({e.label for e in kept})
    if len(classes) < 2:
        raise TwoFourError(f"{root} has only one class ({classes[0]}); a classifier needs two")
    labels = {name: index for index, name in enumerate(classes)}
    summary = _summary(root, kept, good, classes, len(rejected))
    for split in SPLITS:
        lines = [
            f"{e.path} {labels[e.label]}\n" for e in sorted(kept, key=_order) if e.split == split
        ]
        write_text(Path(out) / LISTS[split], "".join(lines))
    shown = [f"{c} {' '.join(words[c].split())}" if words and c in words else c for c in classes]
    write_text(Path(out) / CLASSES, "".join(f"{name}\n" for name in shown))
    write_json(Path(out) / DATASET, summary)
    return summary


def tell(summary: dict) -> None:
    """Log what was found, and warn of what the user should know."""
    log.info(
        "%d training and %d validation images of %d classes; %d files rejected",
        summary["images"]["train"],
        summary["images"]["val"],
        summary["classes"],
        summary["rejected"],
    )
    if summary["leaks"]["count"]:
        first = summary["leaks"]["pairs"][0]
        log.warning(
            "warning: %d images are in both splits, so accuracy is too high; the first is %s = %s",
            summary["leaks"]["count"],
            first["train"],
            first["val"],
        )
    turned = summary["turned_by_exif"]
    if turned["count"]:
        log.warning(
            "warning: %d images are rotated or mirrored by their EXIF orientation, which is not "
            "applied here, such as %s; rotate their pixels if your deployment sees them upright",
            turned["count"],
            turned["paths"][0],
        )


def _order(entry: Entry) -> tuple[str, str]:
    return entry.label, entry.path


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        names = [e.name for e in found if e.is_dir() and not e.name.startswith(".")]
    for name in names:
        if "\n" in name or "\r" in name:
            raise TwoFourError(f"class folder {str(folder / name)!r} has a line break in its name")
    return sorted(names)


def _unreadable(error: OSError) -> None:
    """Raise TwoFourError: a folder that cannot be listed would silently be left out."""
    raise TwoFourError(f"cannot read the folder {error.filename}: {error.strerror}") from error


def _files(folder: Path) -> list[str]:
    """All files below ``folder``; links are followed, except in loops."""
    result = []
    seen = set()
    for current, names, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        identity = os.path.realpath(current)
        if identity in seen:
            names.clear()
            continue
        seen.add(identity)
        names[:] = [n for n in names if not n.startswith(".")]
        result += [os.path.join(current, n) for n in files if not n.startswith(".")]
    return sorted(result)


def _refuse_too_many(rejected: list, total: int, limit: float, out: str) -> None:
    if len(rejected) <= limit * total:
        return
    path, reason = rejected[0]
    raise TwoFourError(
        f"{len(rejected)} of {total} files cannot be used, more than data.max_rejected "
        f"({limit:g}) allows; the first is {path} ({reason}), all are in {out}/{REFUSED}"
    )


def _refuse_emptied_classes(entries: list[Entry], kept: list[Entry], out: str) -> None:
    lost = {(e.split, e.label) for e in entries} - {(e.split, e.label) for e in kept}
    for split, label in sorted(lost):
        where = f" of {split}" if split else ""
        raise TwoFourError(f"class {label!r}{where} has no usable image left; see {out}/{REFUSED}")


def _summary(
    root: str,
    kept: list[Entry],
    verdicts: dict[str, images.Verdict],
    classes: list[str],
    rejected: int,
) -> dict:
    content = hashlib.sha256()
    first: dict[str, dict[bytes, str]] = {split: {} for split in SPLITS}
    copies, copied = 0, list[str]()
    for entry in sorted(kept, key=lambda e: (e.split, *_order(e))):
        digest = verdicts[entry.path].digest
        # Class and pixels, not the path: a moved folder holds the same data.
        content.update(f"{entry.split}\0{entry.label}\0{digest.hex()}\n".encode())
        if first[entry.split].setdefault(digest, entry.path) != entry.path:
            copies += 1
            copied += [entry.path] if len(copied) < NAMED else []
    leaks = [
        {"train": path, "val": first["val"][digest]}
        for digest, path in first["train"].items()
        if digest in first["val"]
    ]
    turned = [e.path for e in kept if verdicts[e.path].turned]
    counts = collections.Counter((e.split, e.label) for e in kept)
    infos = [verdicts[e.path] for e in kept]
    widths, heights = [v.width for v in infos], [v.height for v in infos]
    return {
        "root": root,
        "classes": len(classes),
        "images": {split: sum(counts[split, c] for c in classes) for split in SPLITS},
        "per_class": {c: {split: counts[split, c] for split in SPLITS} for c in classes},
        "rejected": rejected,
        "bytes": sum(v.size for v in infos),
        "width": {"min": min(widths), "median": float(np.median(widths)), "max": max(widths)},
        "height": {"min": min(heights), "median": float(np.median(heights)), "max": max(heights)},
        "duplicates": {"count": copies, "paths": copied},
        "leaks": {"count": len(leaks), "pairs": leaks[:NAMED]},
        "turned_by_exif": {"count": len(turned), "paths": turned[:NAMED]},
        "content_hash": content.hexdigest(),
    }


def _csv(rows: list) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
