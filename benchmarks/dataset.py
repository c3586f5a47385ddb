#!/usr/bin/env python3
"""The dataset stage on many small JPEG files against one process that opens them with Pillow.

Ours decodes every file in full, hashes its pixels and writes the lists, on all cores. Pillow's load
decodes, as ours does, and nothing else. Limit: ours without records and lists. Whole processes are
timed.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import pictures
import processes
import turns

SIZES = (10_000, 30_000, 100_000)
LOOP = """
import sys
from pathlib import Path
from PIL import Image
for path in Path(sys.argv[1]).rglob("*.jpg"):
    with Image.open(path) as image:
        image.load()
"""
CHECKS = """
import sys
from pathlib import Path
from twofour.data import images
from twofour.system import hardware, pool
paths = [str(path) for path in sorted(Path(sys.argv[1]).rglob("*.jpg"))]
print(sum(1 for _ in pool.ordered(images.inspect, paths, hardware.cores(), 256)))
"""


def rows() -> list[dict]:
    found, seconds, memory = [], [], []
    cores = len(os.sched_getaffinity(0))
    for size in SIZES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            pictures.make(folder / "images", size, 32, 32, classes=10)
            runs = {
                "ours": functools.partial(_ours, folder),
                "load": functools.partial(_loop, folder, LOOP),
                "checks": functools.partial(_loop, folder, CHECKS),
            }
            done = processes.in_turns(runs, turns.ROUNDS)
        rates = {who: [size / run.seconds for run in done[who]] for who in done}
        seconds.append(statistics.median(run.seconds for run in done["ours"]))
        memory.append(statistics.median(run.peak_mb for run in done["ours"]))
        for loop, title, aim in (
            ("load", "Pillow load loop, 1 core", None),
            ("checks", f"the checks alone, {cores} cores (limit)", (turns.AT_LEAST, 0.8)),
        ):
            found.append(
                turns.row(
                    "dataset",
                    f"{size} files, {cores} cores",
                    "files/s",
                    rates["ours"],
                    title,
                    rates[loop],
                    aim,
                    peak_mb=memory[-1],
                )
            )
    found.append(turns.growth_row("dataset", "time over files", SIZES, seconds))
    extra = (memory[-1] - memory[0]) / (SIZES[-1] - SIZES[0]) * 1000
    found.append(
        turns.row(
            "dataset",
            f"memory, which grows by {extra:.2g} KB a file",
            "MB",
            [memory[-1]],
            f"with {SIZES[0]} files",
            [memory[0]],
            None,
        )
    )
    return found


def _ours(folder: Path) -> processes.Run:
    shutil.rmtree(folder / "dataset", ignore_errors=True)
    return processes.script(
        "prepare_dataset.py", "--root", folder / "images", "--out", folder / "dataset"
    )


def _loop(folder: Path, program: str) -> processes.Run:
    return processes.python("-c", program, folder / "images" / "train")


if __name__ == "__main__":
    turns.main(__doc__, rows)
