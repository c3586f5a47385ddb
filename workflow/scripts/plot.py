#!/usr/bin/env python3
"""Draw the plots of a run: training curves, accuracy and throughput, sparsity by layer."""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import MODELS
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends
    from twofour.report import plot

    settings = stages.load(options.config, "plot")
    results = Path(options.results)
    cases = backends.cases(settings.deploy.backends, settings.deploy.precisions)
    drawn = plot.draw(results, models.read(results / MODELS), cases)
    cli.log.info("drew %s", ", ".join(map(str, drawn)))


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
