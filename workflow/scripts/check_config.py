#!/usr/bin/env python3
"""Read a configuration, and say in one sentence what is wrong with it."""

from __future__ import annotations

from twofour import command


def main(options) -> None:
    from twofour import stages

    stages.load(options.config, "check_config")


def arguments(parser) -> None:
    pass


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
