#!/usr/bin/env python3
"""The whole demo, from an empty folder to the report, against its stages' computing time.

Against the sum of all programs' useful seconds, their time without imports, in the same run, and
against all their seconds. Programs that run at the same time are added up as if they ran one after
the other.
"""

from __future__ import annotations

import collections
import json
import os
import statistics
import tempfile
from pathlib import Path

import processes
import turns
import workflow_copy


def rows() -> list[dict]:
    walls, useful, whole, stages = [], [], [], collections.defaultdict(list)
    for number in range(turns.ROUNDS):
        with tempfile.TemporaryDirectory() as temporary:
            notes = Path(temporary) / "notes"
            notes.mkdir()
            folder = workflow_copy.make(Path(temporary) / "demo")
            command = [workflow_copy.SNAKEMAKE, "--cores", "all"]
            hook = {"USEFUL": str(notes), "PYTHONPATH": str(turns.HERE / "useful")}
            walls.append(processes.run(command, cwd=folder, env=hook).seconds)
            found = [json.loads(path.read_text()) for path in notes.iterdir()]
        useful.append(sum(f["wall_s"] - f["imports_s"] for f in found))
        whole.append(sum(f["wall_s"] for f in found))
        for program in {f["program"] for f in found}:
            mine = [f for f in found if f["program"] == program]
            stages[program].append([len(mine)] + [sum(f[k] for f in mine) for k in _TIMES])
        print(f"round {number + 1}: {walls[-1]:.1f} s, useful {useful[-1]:.1f} s", flush=True)
    cores = len(os.sched_getaffinity(0))
    medians = {
        program: dict(zip(("runs", *_TIMES), map(statistics.median, zip(*rounds))))
        for program, rounds in stages.items()
    }
    return [
        turns.row(
            "chain",
            f"the demo, {cores} cores",
            "s",
            walls,
            "useful seconds of its stages",
            useful,
            (turns.AT_MOST, 1.15),
            stages=medians,
        ),
        turns.row(
            "chain",
            f"the demo, {cores} cores",
            "s",
            walls,
            "all seconds of its stages, imports too",
            whole,
            (turns.AT_MOST, 1),
        ),
    ]


_TIMES = ("wall_s", "imports_s")


if __name__ == "__main__":
    turns.main(__doc__, rows)
