#!/usr/bin/env python3
"""Compare this machine with what a configuration needs, and say what to do where they differ.

Uses the whole config. Ends with an error if something is in the way of it; the workflow runs this
first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twofour import cli, config, preflight
from twofour.errors import TwoFourError


def main(options) -> None:
    settings = config.load(options.config)
    if options.environment:
        settings["hardware"]["environment"] = options.environment
    config.require_files(settings)
    if settings["hardware"]["environment"]:
        enter(Path(settings["hardware"]["environment"]).absolute())
    findings = preflight.judge(preflight.gather(settings, options.results), settings)
    problems = [f for f in findings if f.status == preflight.PROBLEM]
    if not options.quiet:
        print(preflight.table(findings), file=sys.stdout)
    else:
        for finding in findings:
            if finding.status == preflight.NOTE:
                cli.log.warning("note: %s: %s", finding.subject, finding.remedy)
    if problems:
        words = (
            "; ".join(f"{f.subject}: {f.remedy}" for f in problems)
            if options.quiet
            else "see above"
        )
        raise TwoFourError(f"this machine cannot run the configuration: {words}")


def enter(environment: Path) -> None:
    """Go on in the environment that the jobs will have, with its libraries, unless this is it."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    mine = str(environment / "lib" / "cuda")
    if libraries[0] == mine:
        return
    paths = ":".join([mine, *filter(None, libraries)])
    python = str(environment / "bin" / "python")
    os.execve(python, [python, *sys.argv], {**os.environ, "LD_LIBRARY_PATH": paths})


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", default="results", metavar="DIR", help="where results will go")
    parser.add_argument(
        "--environment", metavar="DIR", help="Python environment (instead of hardware.environment)"
    )
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong")
    cli.run(main, parser)
