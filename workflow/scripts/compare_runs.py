#!/usr/bin/env python3
"""Put finished runs side by side: accuracy, speed, configurations, and the images they share."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.system import cli, files, sections


def main(options) -> None:
    from twofour import config
    from twofour.report import runs

    defaults = sections.as_dict(config.validated({}))
    found = runs.read([Path(folder) for folder in options.results], defaults)
    if options.csv:
        files.write_text(options.csv, runs.joined(found).to_csv(index=False))
    if options.page:
        files.write_text(options.page, runs.page(found))
    cli.say(runs.text(found))


def arguments(parser) -> None:
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="results/<run>, two or more")
    parser.add_argument("--csv", metavar="FILE", help="also write all rows, with a column run")
    parser.add_argument("--page", metavar="FILE", help="also write a page (HTML)")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
