#!/usr/bin/env python3
"""Write the table of the models of a run: their names, how they are made and how shown."""

from __future__ import annotations

from twofour import command, models
from twofour.system import cli


def main(options) -> None:
    from twofour import stages

    settings = stages.load(options.config, "list_models")
    table = models.of_run(settings)
    models.write(options.out, table)
    cli.log.info("models: %s", ", ".join(model.name for model in table))


def arguments(parser) -> None:
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
