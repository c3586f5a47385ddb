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

    limit = stages.load(options.config, "accept").accept.max_top1_drop
    results = Path(options.results)
    table = compare.read(results / COMPARISON, models.read(results / MODELS))
    largest = accept.largest_drop(table, limit, results / COMPARISON)
    files.write_json(results / ACCEPTED, {"max_top1_drop": limit, "largest_drop": largest})
    cli.log.info("accepted: the largest drop is %.2f points", largest)


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
