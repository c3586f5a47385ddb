#!/usr/bin/env python3
"""Compare this machine with what a configuration needs, and say what to do where they differ.

Fails if the configuration cannot run here; the workflow runs this first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twofour import command
from twofour.system import cli
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour import config, doctor, stages

    settings = stages.load(options.config, "doctor")
    config.require_files(settings)
    environment = options.environment or settings.hardware.environment
    if environment:
        enter(Path(environment).absolute())
    facts = doctor.gather(settings, options.results)
    findings = doctor.judge(facts, settings, not options.no_training)
    problems = [f for f in findings if f.status == doctor.PROBLEM]
    if not options.quiet:
        print(doctor.table(findings), flush=True)
        if not problems:
            last = doctor.rehearse(settings)
            print(doctor.table([last]), flush=True)
            problems = [last] if last.status == doctor.PROBLEM else []
    else:
        for finding in findings:
            if finding.status == doctor.NOTE:
                cli.log.warning("note: %s: %s", finding.subject, finding.remedy)
    if problems:
        words = "; ".join(f"{f.subject}: {f.remedy}" for f in problems)
        raise TwoFourError(f"this machine cannot run the configuration: {words}")


def enter(environment: Path) -> None:
    """Restart in the environment of the jobs, with its libraries, unless this is it already."""
    python = environment / "bin" / "python"
    if not python.is_file():
        raise TwoFourError(
            f"--environment: {environment} is not a Python environment (it has no bin/python)"
        )
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    mine = str(environment / "lib" / "cuda")
    if libraries[0] == mine:
        return
    paths = ":".join([mine, *filter(None, libraries)])
    os.execve(python, [str(python), *sys.argv], {**os.environ, "LD_LIBRARY_PATH": paths})


def arguments(parser) -> None:
    parser.add_argument("--results", default="results", metavar="DIR", help="where results will go")
    parser.add_argument(
        "--environment", metavar="DIR", help="Python environment (instead of hardware.environment)"
    )
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong")
    parser.add_argument(
        "--no-training", action="store_true", help="leave out what only trainings need"
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
