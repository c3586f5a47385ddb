#!/usr/bin/env python3
"""Collect all measurements of a run in one table: comparison.csv, comparison.md, verdict.txt."""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import COMPARISON, COMPARISON_TEXT, MODELS, REPORT, VERDICT
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends
    from twofour.report import compare, display

    settings = stages.load(options.config, "compare")
    results = Path(options.results)
    table = compare.build(
        results,
        models.read(results / MODELS),
        backends.cases(settings.deploy.backends, settings.deploy.precisions),
        settings.benchmark.batch_sizes,
    )
    with files.atomic(results / COMPARISON) as temporary:
        table.frame.to_csv(temporary, index=False, float_format="%.6g")
    files.write_text(results / COMPARISON_TEXT, display.markdown(table))
    files.write_text(results / VERDICT, display.terminal(table, results / REPORT))
    cli.log.info("wrote %s", results / COMPARISON)


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
