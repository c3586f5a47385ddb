#!/usr/bin/env python3
"""Compare this machine with what a configuration needs, and say what to do where they differ.

Uses the whole config. Ends with an error if something is in the way of it; the workflow runs this
first.
"""

from __future__ import annotations

import sys

from twofour import cli, config, preflight
from twofour.errors import TwoFourError


def main(options) -> None:
    settings = config.load(options.config)
    config.require_files(settings)
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


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", default="results", metavar="DIR", help="where results will go")
    parser.add_argument("--quiet", action="store_true", help="say only what is wrong")
    cli.run(main, parser)
