#!/usr/bin/env python3
"""Snakemake when nothing changed, at 3, 30 and 300 branches, against an empty Snakefile.

A branch is one sparsity algorithm measured at one batch size: 3 algorithms at 1, 10 and 100 batch
sizes. The results are empty files that Snakemake was told are made (--touch): it reads none.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import processes
import turns

ALGORITHMS = ("mask_1d", "mask_2d_greedy", "mask_2d_best")
BATCH_SIZES = (1, 10, 100)
REPOSITORY = turns.HERE.parent
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles")


def rows() -> list[dict]:
    found, seconds, branches = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        empty = Path(temporary) / "empty"
        empty.mkdir()
        (empty / "Snakefile").touch()
        for count in BATCH_SIZES:
            done = _finished(Path(temporary) / str(count), count)
            runs = processes.in_turns(
                {"ours": lambda: _snakemake(done), "empty": lambda: _snakemake(empty)},
                turns.ROUNDS,
            )
            times = {who: [run.seconds for run in runs[who]] for who in runs}
            branches.append(len(ALGORITHMS) * count)
            seconds.append(statistics.median(times["ours"]))
            found.append(
                turns.row(
                    "noop",
                    f"{branches[-1]} branches",
                    "s",
                    times["ours"],
                    "snakemake on an empty Snakefile",
                    times["empty"],
                    (turns.AT_MOST, 1.5),
                )
            )
    found.append(turns.growth_row("noop", "time over branches", branches, seconds))
    return found


def _finished(folder: Path, batch_sizes: int) -> Path:
    """A copy of the workflow in ``folder`` whose results are all there."""
    for part in PARTS:
        source = REPOSITORY / part
        ignore = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignore)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / part)
    settings = {
        "run": "noop",
        "data": {"source": "digits"},
        "sparsity": {"algorithm": list(ALGORITHMS)},
        "benchmark": {"batch_sizes": list(range(1, batch_sizes + 1))},
        "hardware": {"threads": 1},
    }
    (folder / "config" / "config.yaml").write_text(json.dumps(settings))
    listed = subprocess.run(
        [_program(), "--summary"], cwd=folder, capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines()[1:]:
        path = folder / line.partition("\t")[0]
        if path.name == "digits":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    processes.run([_program(), "--touch"], cwd=folder)
    done = subprocess.run([_program()], cwd=folder, capture_output=True, text=True, check=True)
    if "Nothing to be done" not in done.stdout + done.stderr:
        sys.exit(f"error: there was something to be done:\n{done.stderr[-2000:]}")
    return folder


def _snakemake(folder: Path) -> processes.Run:
    return processes.run([_program(), "--cores", os.cpu_count()], cwd=folder)


def _program() -> Path:
    return Path(sys.executable).parent / "snakemake"


if __name__ == "__main__":
    turns.main(__doc__, rows)
