#!/usr/bin/env python3
"""Draw what pruning each layer costs, and what the layers cost together."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import PARETO_PLOT, PATH, SENSITIVITY, SENSITIVITY_PLOT
from twofour.system import files


def main(options) -> None:
    from twofour.report import sensitivity
    from twofour.sparse import choice

    folder = Path(options.sensitivity)
    chosen = files.read_json(options.choice) if options.choice else None
    table = choice.read(folder / SENSITIVITY, choice.UNITS)
    path = choice.read(folder / PATH, choice.PATH)
    sensitivity.draw_layers(table, chosen, folder / SENSITIVITY_PLOT)
    sensitivity.draw_path(path, chosen, folder / PARETO_PLOT)


def arguments(parser) -> None:
    parser.add_argument("--sensitivity", required=True, metavar="DIR", help="what was measured")
    parser.add_argument("--choice", metavar="FILE", help="choice.json, if layers were chosen")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
