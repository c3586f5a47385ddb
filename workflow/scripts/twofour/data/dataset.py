"""From a folder of images to checked, labelled file lists."""

from __future__ import annotations

import collections
import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from ..artifacts import (
    CLASSES,
    CONTENT,
    DATASET,
    DIGESTS,
    REFUSED,
    REJECTED,
    TRAIN_LIST,
    VAL_LIST,
)
from ..system import pool, progress
from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import atomic, sha256, write_json, write_text
from . import decoding, findings, formats, images, members, records, shards, sources
from .settings import Data
from .split import split_validation
from .tree import SPLITS, Entry, nested, require_apart, shown

LISTS = {"train": TRAIN_LIST, "val": VAL_LIST}
SHOWN = 10  # classes whose counts are logged
NAMED = 20  # leaks and duplicates that dataset.json names; it counts all of them


def check(entries: list[Entry], workers: int, folder: Path) -> list[images.Verdict]:
    """Judge every file, ``workers`` at a time; one verdict for each entry, in their order.

    Files are decoded, except those unchanged since an earlier check, whose verdicts are in
    ``folder``. What a check has found is kept there even if it is killed.
    """
    code = "".join(sha256(m.__file__ or "") for m in (images, formats, decoding, members))
    with records.open_records(folder, code) as known:
        times = {}
        verdicts: list[images.Verdict | None] = []
        for entry in entries:
            try:
                size, changed = members.look(entry.path)
            except OSError:
                verdicts.append(None)
                continue
            verdict = known.find(entry.path, size, changed)
            verdicts.append(verdict)
            if verdict is None:
                times[entry.path] = changed
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


def prepare(
    root: str,
    out: str,
    data: Data,
    workers: int,
    flat_val: dict[str, str] | None = None,
    words: dict[str, str] | None = None,
    origin: str | None = None,
) -> dict:
    """The whole dataset stage: scan, check, split, and write the artifacts into ``out``.

    ``data`` is the config's section; for ``flat_val`` see :func:`.tree.scan`; ``words`` are
    readable names of the classes, which classes.txt then has beside their own; ``origin``
    identifies what the dataset is made of. Returns what dataset.json holds. If the stage fails
    because of rejected files, they are listed in refused.csv, which is not an output: Snakemake
    deletes the outputs of a failed job.
    """
    require_apart(root, [out])
    entries, named = sources.entries(data, root, workers, flat_val)
    words = {**named, **(words or {})}
    verdicts = check(entries, workers, Path(out))
    rejected = [(shown(e.path), v.reason) for e, v in zip(entries, verdicts) if v.reason]
    table = _csv([("path", "reason"), *rejected])
    refused = Path(out) / REFUSED
    write_text(refused, table)
    good = {e.path: v for e, v in zip(entries, verdicts) if not v.reason}
    apply = data.exif == "apply"
    _refuse_too_many(rejected, len(entries), data.max_rejected, out)
    kept = [e for e in entries if e.path in good]
    _refuse_emptied_classes(entries, kept, out)
    refused.replace(Path(out) / REJECTED)
    if kept[0].split == "":
        digests = {path: verdict.digest for path, verdict in good.items()}
        kept = split_validation(kept, digests, data.val_fraction, data.split_seed)

    classes = sorted({e.label for e in kept})
    labels = {name: index for index, name in enumerate(classes)}
    in_tars = data.source == "shards"  # which are read as they are
    summary = _summary(root, kept, good, classes, len(rejected), apply, in_tars)
    ordered = sorted(kept, key=(lambda e: members.order(e.path)) if in_tars else _order)
    listed = {split: [e for e in ordered if e.split == split] for split in SPLITS}
    for split, listing in listed.items():
        lines = [f"{e.path} {labels[e.label]}\n" for e in listing]
        write_text(Path(out) / LISTS[split], "".join(lines))
    write_digests(Path(out) / DIGESTS, listed, good)
    turned = _orientations(listed, good if apply else {})
    content = {"content_hash": summary["content_hash"], "orientations": turned}
    write_json(Path(out) / CONTENT, content)
    called = [f"{c} {' '.join(words[c].split())}" if c in words else c for c in classes]
    write_text(Path(out) / CLASSES, "".join(f"{name}\n" for name in called))
    summary = {**summary, "origin": origin}
    write_json(Path(out) / DATASET, summary)
    return summary


def write_digests(
    path: Path, listed: Mapping[str, list[Entry]], verdicts: Mapping[str, images.Verdict]
) -> None:
    """Write the digest of each image's pixels, [n, 16] uint8 for each split, as the lists go."""
    arrays = {}
    for split, listing in listed.items():
        joined = b"".join(verdicts[e.path].digest for e in listing)
        arrays[split] = np.frombuffer(joined, dtype=np.uint8).reshape(len(listing), 16)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _orientations(
    listed: Mapping[str, list[Entry]], verdicts: Mapping[str, images.Verdict]
) -> dict[str, dict[str, int]]:
    """For each split the position of each image to be turned, and its EXIF orientation."""
    result: dict[str, dict[str, int]] = {}
    for split, listing in listed.items():
        found = (
            verdicts[e.path].orientation if e.path in verdicts else images.UPRIGHT for e in listing
        )
        result[split] = {str(i): n for i, n in enumerate(found) if n != images.UPRIGHT}
    return result


def tell(summary: dict) -> None:
    """Log what was found, and warn of what the user should know."""
    log.info(
        "%d training and %d validation images of %d classes; %d files rejected",
        summary["images"]["train"],
        summary["images"]["val"],
        summary["classes"],
        summary["rejected"],
    )
    for line in _counts(summary["per_class"]):
        log.info("%s", line)
    misnamed = summary["misnamed"]
    if misnamed["count"]:
        log.info(
            "images with another format than their name says, which are used: %d, such as %s",
            misnamed["count"],
            misnamed["paths"][0],
        )
    turned = summary["turned_by_exif"]
    if turned["count"] and turned["applied"]:
        log.info(
            "images turned as their EXIF orientation says: %d, such as %s",
            turned["count"],
            turned["paths"][0],
        )
    for sentence in findings.warnings(summary):
        log.warning("warning: %s", sentence)


def _counts(per_class: dict[str, dict[str, int]]) -> list[str]:
    """A line for each class with its images, for the first of many."""
    width = max(len(name) for name in list(per_class)[:SHOWN])
    lines = [
        f"  {name:{width}}  {count['train']:7d} train {count['val']:7d} val"
        for name, count in list(per_class.items())[:SHOWN]
    ]
    if len(per_class) > SHOWN:
        least, most = (f(c["train"] for c in per_class.values()) for f in (min, max))
        lines.append(
            f"  and {len(per_class) - SHOWN} more classes; training images of a class: "
            f"{least} to {most}"
        )
    return lines


def _order(entry: Entry) -> tuple[str, str, int]:
    return entry.label, *members.order(entry.path)


def _refuse_too_many(rejected: list, total: int, limit: float, out: str) -> None:
    if len(rejected) <= limit * total:
        return
    path, reason = rejected[0]
    raise TwoFourError(
        f"{len(rejected)} of {total} files cannot be used, more than data.max_rejected "
        f"({limit:g}) allows; the first is {path} ({reason}), all are in {out}/{REFUSED}; mend or "
        "remove them, or raise it"
    )


def _refuse_emptied_classes(entries: list[Entry], kept: list[Entry], out: str) -> None:
    lost = {(e.split, e.label) for e in entries} - {(e.split, e.label) for e in kept}
    for split, label in sorted(lost):
        where = f" of {split}" if split else ""
        raise TwoFourError(
            f"class {shown(label)!r}{where} has no usable image left; see {out}/{REFUSED}"
        )


def _summary(
    root: str,
    kept: list[Entry],
    verdicts: dict[str, images.Verdict],
    classes: list[str],
    rejected: int,
    apply: bool,
    in_tars: bool,
) -> dict:
    content = hashlib.sha256()
    first: dict[str, dict[bytes, str]] = {split: {} for split in SPLITS}
    copies, copied = 0, list[str]()
    for entry in sorted(kept, key=lambda e: (e.split, *_order(e))):
        digest, orientation = verdicts[entry.path].digest, verdicts[entry.path].orientation
        # Class and pixels, not the path: a moved folder holds the same data.
        content.update(f"{entry.split}\0{entry.label}\0{digest.hex()}\n".encode())
        if apply and orientation != images.UPRIGHT:
            content.update(f"{orientation}\n".encode())
        if first[entry.split].setdefault(digest, entry.path) != entry.path:
            copies += 1
            copied += [entry.path] if len(copied) < NAMED else []
    leaks = [
        {"train": path, "val": first["val"][digest]}
        for digest, path in first["train"].items()
        if digest in first["val"]
    ]
    turned = [e.path for e in kept if verdicts[e.path].orientation != images.UPRIGHT]
    misnamed = [e.path for e in kept if verdicts[e.path].misnamed]
    counts = collections.Counter((e.split, e.label) for e in kept)
    infos = [verdicts[e.path] for e in kept]
    widths, heights = [v.width for v in infos], [v.height for v in infos]
    return {
        "root": root,
        "classes": len(classes),
        "images": {split: sum(counts[split, c] for c in classes) for split in SPLITS},
        "per_class": {c: {split: counts[split, c] for split in SPLITS} for c in classes},
        "nested": [] if in_tars else nested(kept)[:NAMED],
        "unmixed": in_tars and not shards.mixed(kept),
        "rejected": rejected,
        "bytes": sum(v.size for v in infos),
        "width": {"min": min(widths), "median": float(np.median(widths)), "max": max(widths)},
        "height": {"min": min(heights), "median": float(np.median(heights)), "max": max(heights)},
        "duplicates": {"count": copies, "paths": copied},
        "leaks": {"count": len(leaks), "pairs": leaks[:NAMED]},
        "turned_by_exif": {"count": len(turned), "applied": apply, "paths": turned[:NAMED]},
        "misnamed": {"count": len(misnamed), "paths": misnamed[:NAMED]},
        "content_hash": content.hexdigest(),
    }


def _csv(rows: list) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
