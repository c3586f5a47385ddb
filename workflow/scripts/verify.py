#!/usr/bin/env python3
"""Verify a release: every file is as it was, and the model files are 2:4 sparse as certified."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import CERTIFICATE, RELEASED
from twofour.system import cli
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour.report import certificate

    folder = Path(options.release)
    if not (folder / CERTIFICATE).is_file():
        example = RELEASED.format(model="sparse")
        raise TwoFourError(
            f"{folder} has no {CERTIFICATE}; name the folder of a release, such as "
            f"results/demo/{example}"
        )
    known, wrong = certificate.verify(folder)
    for sentence in wrong[:-1]:
        cli.log.error("%s", sentence)
    if wrong:
        more = f"{len(wrong)} things do not hold; the last: " if len(wrong) > 1 else ""
        raise TwoFourError(f"{folder} is not as it was released: {more}{wrong[-1]}")
    hops = known["sparsity"] or []
    cli.say(
        f"{known['model']} of run {known['run']}: all {len(known['files'])} files are as released"
    )
    for hop in hops:
        cli.say(
            f"  {hop['file']}: {hop['sparse_layers']} of {hop['layers']} layers 2:4 sparse, "
            f"{hop['groups']:,} groups, none broken"
        )


def arguments(parser) -> None:
    parser.add_argument("release", metavar="DIR", help="release/<model> of a run, or a copy")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
