#!/usr/bin/env python3
"""Write report.html: the table, the plots, the configuration and the provenance on one page.

The page needs no other file and no network.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import MODELS, REPORT
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends
    from twofour.report import report

    settings = stages.load(options.config, "report")
    results = Path(options.results)
    cases = backends.cases(settings.deploy.backends, settings.deploy.precisions)
    sparsity = settings.sparsity
    chosen = sparsity.choose.max_top1_drop is not None
    weighed = sparsity.algorithm if chosen or sparsity.sensitivity else ()
    text = report.render(results, models.read(results / MODELS), cases, weighed, chosen)
    files.write_text(results / REPORT, text)
    cli.log.info("wrote %s", results / REPORT)


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
