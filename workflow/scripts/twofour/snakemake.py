"""Snakemake, without a traceback if Ctrl-C comes before it runs any job.

Started as python -m twofour.snakemake with Snakemake's own command line.
"""

from __future__ import annotations

import signal
import sys

from .system import cli


def main() -> None:
    """Run Snakemake with the command line of this process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the logger plugin has been loaded
    from snakemake.cli import main as run

    sys.argv[0] = "snakemake"
    try:
        run()
    except KeyboardInterrupt:  # while it reads the workflow, or looks for what must run
        from .terminal import STOPPED

        print(STOPPED, file=sys.stderr)
        sys.exit(cli.INTERRUPTED)


if __name__ == "__main__":
    main()
