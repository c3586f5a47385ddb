#!/usr/bin/env python3
"""Run the benchmarks one after another and put them into results.json and the table of README.md.

    python benchmarks/run.py [ROW ...]

Rows that are not run keep their figures in results.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import turns

ROWS = ("loader", "training", "infer", "int8", "masks", "dataset", "noop", "chain", "memory", "gpu")
# What depends on the processor most: the figures of others are kept.
ON_EACH_PROCESSOR = ("training",)
RESULTS, README = turns.HERE / "results.json", turns.HERE / "README.md"
BEGIN, END = "<!-- results.json -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of {', '.join(ROWS)}")
    chosen = parser.parse_args().rows or ROWS
    unknown = sorted(set(chosen) - set(ROWS))
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; choose from {', '.join(ROWS)}")
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "row.json"
            script = turns.HERE / f"{name}.py"
            done = subprocess.run([sys.executable, str(script), "--out", str(out)], check=False)
            if done.returncode:
                sys.exit(f"error: benchmarks/{name}.py failed, see above; the others are kept")
            measured = {"machine": _machine(), "rows": json.loads(out.read_text())}
        others = known.get(name, []) if name in ON_EACH_PROCESSOR else []
        processor = measured["machine"]["processor"]
        kept = [other for other in others if other["machine"]["processor"] != processor]
        known[name] = [*kept, measured]
        known = {row: known[row] for row in ROWS if row in known}
        RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        README.write_text(_with_table(README.read_text(encoding="utf-8"), known), encoding="utf-8")


def _machine() -> dict:
    from twofour.system import hardware

    return {
        "processor": hardware.cpu_name(),
        "cores": hardware.cores(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def _with_table(text: str, known: dict) -> str:
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    lines = ["| row | case | ours | against | ratio | lowest to highest | aim | on | `ROWS=` |"]
    lines.append("|---" * 9 + "|")
    for name, measurements in known.items():
        for found in measurements:
            on = _short(found["machine"])
            for row in found["rows"]:
                lines.append(
                    f"| `{row['name']}` | {row['case']} | {_figures(row)} | {_aim(row)} | {on} "
                    f"| {name} |"
                )
    table = "\n".join(lines)
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}"


def _short(machine: dict) -> str:
    """The processor and the month."""
    name = machine["processor"].replace("(R)", "").removesuffix(" Processor")
    return f"{name}, {machine['date'][:7]}"


def _figures(row: dict) -> str:
    if row["ours"] is None:
        return f"not run: no GPU | {row['against']} | | "
    return (
        f"{row['ours']:.4g} {row['unit']} | {row['against']}, {row['theirs']:.4g} | "
        f"{row['ratio']:.3g} × | {row['ratio_low']:.3g} to {row['ratio_high']:.3g}"
    )


def _aim(row: dict) -> str:
    if row["aim"] is None:
        return ""
    return f"{row['aim']}{', **not met**' if row['met'] is False else ''}"


if __name__ == "__main__":
    main()
