#!/usr/bin/env python3
"""Measure what sparsity, int8 and rivals will buy on this machine, before any training.

Takes the configuration's networks with the weights that they begin with, or random ones. Of the
images only the names are read. The same as the target preview of the workflow; without --config,
for the demo.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twofour import command
from twofour.system.errors import TwoFourError


def main(options) -> int:
    from twofour import stages

    named = options.config if options.config != "{}" else None  # what it is where none is named
    if named:
        stages.load(named, "preview")  # a wrong key is told before Snakemake starts
    places = [Path("Snakefile"), command.programs_folder().parents[1] / "Snakefile"]
    snakefile = next((place for place in places if place.is_file()), None)
    if snakefile is None:
        raise TwoFourError("there is no Snakefile here; run this in the folder of the workflow")
    given = ["--configfile", named] if named else []
    snakemake = [sys.executable, "-m", "twofour.snakemake", "--snakefile", snakefile, "preview"]
    return subprocess.run([*map(str, snakemake), "--cores", options.cores, *given]).returncode


def arguments(parser) -> None:
    parser.add_argument("--cores", default="all", metavar="N", help="CPU cores to use at a time")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
