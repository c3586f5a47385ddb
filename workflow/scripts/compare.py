#!/usr/bin/env python3
"""Collect all measurements of a run: comparison.csv and .md, verdict.txt, the classes' tables."""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import (
    CLASS_TABLE,
    COMPARISON,
    COMPARISON_TEXT,
    CONFUSION,
    MODELS,
    REPORT,
    VERDICT,
)
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends
    from twofour.report import classes, compare, display

    settings = stages.load(options.config, "compare")
    results = Path(options.results)
    known = models.read(results / MODELS)
    cases = backends.cases(settings.deploy.backends, settings.deploy.precisions)
    table = compare.build(results, known, cases, settings.benchmark.batch_sizes)
    here = models.in_case(known, cases[0][1])
    judged = classes.read(results, here, "-".join(cases[0]))  # of all seeds
    tables = {
        COMPARISON: table.frame,
        CLASS_TABLE: classes.table(judged),
        CONFUSION: classes.confusion(judged),
    }
    for name, frame in tables.items():
        with files.atomic(results / name) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.6g")
    files.write_text(results / COMPARISON_TEXT, display.markdown(table))
    files.write_text(results / VERDICT, display.terminal(table, results / REPORT))
    cli.log.info("wrote %s", results / COMPARISON)


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
