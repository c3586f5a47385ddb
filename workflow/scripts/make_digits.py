#!/usr/bin/env python3
"""Write scikit-learn's handwritten digits as a folder of JPEG files, one folder per class."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.system import cli


def main(options) -> None:
    from twofour.data import digits

    count = digits.write(Path(options.out))
    cli.log.info("wrote %d images of %d digits to %s", count, 10, options.out)


def arguments(parser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
