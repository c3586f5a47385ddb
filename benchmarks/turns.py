"""Contestants that are measured in turns, each in a process of its own, and their results.

A contestant is a program in benchmarks/contestants that calls :func:`serve`. The processes wait
while another one has its turn, so that no two libraries share a process and other load on the
machine affects all of them alike. Ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent / "workflow" / "scripts"
ROUNDS = 5
REST_S = 0.3  # until the threads of the last one have stopped spinning
AT_LEAST, AT_MOST = "≥", "≤"


def serve(turn: Callable[[], float]) -> None:
    """Be a contestant: run ``turn`` whenever asked, and report its result (img/s or seconds)."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    turn()  # warm-up
    print(json.dumps("ready"), file=out, flush=True)
    for _ in sys.stdin:
        print(json.dumps(turn()), file=out, flush=True)


def timed(run: Callable[[], object], images: int, seconds: float) -> Callable[[], float]:
    """A turn of about ``seconds``: img/s of ``run``, which computes a batch of ``images``."""
    run()
    start = time.perf_counter()
    run()
    steps = max(1, round(seconds / (time.perf_counter() - start)))

    def turn() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            run()
        return steps * images / (time.perf_counter() - start)

    return turn


def measure(
    contestants: Mapping[str, Sequence], rounds: int = ROUNDS, cores: int | None = None
) -> dict[str, list[float]]:
    """The results of each contestant by round; a contestant is a program's name and arguments.

    With ``cores``, each may use only that many cores of the machine.
    """
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    running = {
        name: subprocess.Popen(
            [sys.executable, str(HERE / "contestants" / program), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
            start_new_session=True,  # so that its own workers can be ended with it
        )
        for name, (program, *arguments) in contestants.items()
    }
    try:
        for name, process in running.items():
            _answer(name, process)
        results: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(rounds):
            for name, process in running.items():
                time.sleep(REST_S)
                process.stdin.write("go\n")
                process.stdin.flush()
                results[name].append(_answer(name, process))
        return results
    finally:
        for process in running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answer(name: str, process: subprocess.Popen):
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"error: the contestant {name} ended; its messages are above")
    return json.loads(line)


def row(
    name: str,
    case: str,
    unit: str,
    ours: Sequence[float],
    against: str,
    theirs: Sequence[float],
    aim: tuple[str, float] | None,
    **more,
) -> dict:
    """A line of the table: ours over theirs, the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs)]
    ratio = statistics.median(ratios)
    found = {
        "name": name,
        "case": case,
        "unit": unit,
        "ours": statistics.median(ours),
        "against": against,
        "theirs": statistics.median(theirs),
        "ratio": ratio,
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "rounds": len(ratios),
        "aim": f"{aim[0]} {aim[1]:g}" if aim else None,
        "met": None if not aim else ratio >= aim[1] if aim[0] == AT_LEAST else ratio <= aim[1],
        **more,
    }
    print(
        f"{name}, {case}: {found['ours']:.4g} {unit}, {against} {found['theirs']:.4g}, "
        f"ratio {ratio:.3g} ({min(ratios):.3g} to {max(ratios):.3g})"
        + (f", aim {found['aim']}" if aim else ""),
        flush=True,
    )
    return found


def growth_row(name: str, case: str, sizes: Sequence[float], costs: Sequence[float]) -> dict:
    """A line of the table: the fitted exponent of the growth, 1 being linear."""
    exponent = growth(sizes, costs)
    shown = " / ".join(f"{size:g}" for size in sizes)
    more = {"sizes": list(sizes), "costs": list(costs)}
    case, aim = f"growth, {case} ({shown})", (AT_MOST, 1.1)
    return row(name, case, "(exponent)", [exponent], "linear", [1.0], aim, **more)


def not_run(name: str, case: str, against: str, aim: tuple[str, float] | None) -> dict:
    """A line of the table for what this machine's hardware cannot run."""
    print(f"{name}, {case}: not run, there is no GPU here", flush=True)
    return {
        "name": name,
        "case": case,
        "against": against,
        "ours": None,
        "aim": f"{aim[0]} {aim[1]:g}" if aim else None,
        "met": None,
    }


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent k of the least-squares fit cost ~ size^k."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def main(doc: str, rows: Callable[[], list[dict]]) -> None:
    """The command line of a row's script."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON")
    options = parser.parse_args()
    found = rows()
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
