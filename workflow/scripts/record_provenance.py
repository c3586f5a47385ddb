#!/usr/bin/env python3
"""Record what produced a run: code, configuration, packages, machine, times."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import PROVENANCE
from twofour.system import cli, files


def main(options) -> None:
    from twofour import config, stages
    from twofour.report import provenance
    from twofour.system import sections

    given = stages.load(options.config, "record_provenance")
    settings = sections.as_dict(given)
    results = Path(options.results)
    repository = Path(__file__).resolve().parents[2]
    record = provenance.record(
        settings, config.compact(settings), given.hardware.environment, results, repository
    )
    files.write_json(results / PROVENANCE, record)
    cli.log.info("wrote %s", results / PROVENANCE)


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
