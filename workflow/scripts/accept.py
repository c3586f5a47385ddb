#!/usr/bin/env python3
"""Fail if the sparse model lost more top-1 accuracy than accept.max_top1_drop allows."""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import ACCEPTED, COMPARISON, MODELS
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.report import accept, compare

    settings = stages.load(options.config, "accept")
    results = Path(options.results)
    table = compare.read(results / COMPARISON, models.read(results / MODELS))
    found = accept.judge(table, settings.accept, results / COMPARISON)
    files.write_json(results / ACCEPTED, found)
    what = "largest drop" if found["judge"] == "point" else "bound of the largest drop"
    cli.log.info("accepted: the %s is %.2f points", what, found["largest_drop"])


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
