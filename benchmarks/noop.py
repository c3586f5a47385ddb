#!/usr/bin/env python3
"""Snakemake when nothing changed, at 3, 30 and 300 branches, against an empty Snakefile.

A branch is one sparsity algorithm measured at one batch size: 3 algorithms at 1, 10 and 100 batch
sizes. The results are empty files that Snakemake was told to take as made (--touch); only
dataset.json holds anything, what it was made of.
The limit is a Snakefile with as many jobs and outputs in a single rule without inputs.
"""

from __future__ import annotations

import functools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import processes
import turns
import workflow_copy

ALGORITHMS = ("mask_1d", "mask_2d_greedy", "mask_2d_best")
BATCH_SIZES = (1, 10, 100)


def rows() -> list[dict]:
    found, seconds, branches = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        empty = Path(temporary) / "empty"
        empty.mkdir()
        (empty / "Snakefile").touch()
        for count in BATCH_SIZES:
            done = _finished(Path(temporary) / str(count), count)
            bare = _bare(Path(temporary) / f"bare{count}", done)
            folders = {"ours": done, "empty": empty, "bare": bare}
            runs = processes.in_turns(
                {who: functools.partial(_snakemake, folder) for who, folder in folders.items()},
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
            found.append(
                turns.row(
                    "noop",
                    f"{branches[-1]} branches",
                    "s",
                    times["ours"],
                    "as many jobs and files in one bare rule (limit)",
                    times["bare"],
                    None,
                )
            )
    found.append(turns.growth_row("noop", "time over branches", branches, seconds))
    return found


def _finished(folder: Path, batch_sizes: int) -> Path:
    """A copy of the workflow in ``folder`` whose results are all present."""
    workflow_copy.make(folder)
    settings = {
        "run": "noop",
        "data": {"source": "digits"},
        "train": {"batch_size": 8},  # which fits any machine
        "sparsity": {"algorithm": list(ALGORITHMS)},
        "benchmark": {"batch_sizes": list(range(1, batch_sizes + 1))},
        "hardware": {"threads": 1},
    }
    (folder / "config" / "config.yaml").write_text(json.dumps(settings))
    origin = _found(r"--origin (\w+)", folder, "--printshellcmds")
    for name in _outputs(folder):
        path = folder / name
        if path.name == "digits":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (summary,) = folder.glob("results/*/dataset/dataset.json")
    summary.write_text(json.dumps({"origin": origin}))
    _touch(folder)
    return folder


def _bare(folder: Path, done: Path) -> Path:
    """As many outputs as in ``done``, in as many jobs, all in one rule without inputs."""
    outputs = len(_outputs(done))
    jobs = _jobs(done)
    each = round(outputs / jobs)
    names = [[f"{job}-{n}" for n in range(each)] for job in range(jobs)]
    folder.mkdir()
    wildcard = ", ".join(f'"{{job}}-{n}"' for n in range(each))
    wanted = [group[0] for group in names]
    (folder / "Snakefile").write_text(
        f"rule all:\n    input: {wanted}\nrule each:\n    output: {wildcard}\n"
        '    wildcard_constraints: job=r"\\d+"\n    shell: "touch {output}"\n'
    )
    for group in names:
        for name in group:
            (folder / name).touch()
    _touch(folder)
    return folder


def _outputs(folder: Path) -> list[str]:
    listed = subprocess.run(
        [workflow_copy.SNAKEMAKE, "--summary"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition("\t")[0] for line in listed.stdout.splitlines()[1:]]


def _jobs(folder: Path) -> int:
    """Jobs of a whole run."""
    return int(_found(r"^jobs: (\d+)", folder))


def _found(pattern: str, folder: Path, *options: str) -> str:
    """What ``pattern`` finds in the plan of a whole run."""
    plan = subprocess.run(
        [workflow_copy.SNAKEMAKE, "--forceall", "--dry-run", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.search(pattern, plan.stdout + plan.stderr, re.MULTILINE)[1]


def _touch(folder: Path) -> None:
    processes.run([workflow_copy.SNAKEMAKE, "--touch", "--cores", 1], cwd=folder)
    done = subprocess.run(
        [workflow_copy.SNAKEMAKE, "--cores", "1"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    if "Nothing to be done" not in done.stdout + done.stderr:
        sys.exit(f"error: there was something to be done:\n{done.stderr[-2000:]}")


def _snakemake(folder: Path) -> processes.Run:
    return processes.run([workflow_copy.SNAKEMAKE, "--cores", os.cpu_count()], cwd=folder)


if __name__ == "__main__":
    turns.main(__doc__, rows)
