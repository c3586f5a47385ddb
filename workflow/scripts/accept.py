#!/usr/bin/env python3
"""Fail if the sparse model lost more top-1 accuracy than the config allows.

Uses the config's section accept.
"""

from __future__ import annotations

from pathlib import Path

from twofour import cli, comparison, config, files, names
from twofour.errors import TwoFourError
from twofour.names import SPARSE


def main(options) -> None:
    limit = config.load(options.config)["accept"]["max_top1_drop"]
    if limit is None:
        raise TwoFourError("accept.max_top1_drop is not set; there is nothing to check")
    path = Path(options.results) / "comparison.csv"
    table = comparison.read(path)
    sparse = table[table["model"].map(names.kind) == SPARSE]
    worst = sparse.loc[sparse["top1_drop"].idxmax()]
    if worst["top1_drop"] > limit:
        raise TwoFourError(
            f"not accepted: the {worst['model']} model is {worst['top1_drop']:.2f} points of top-1 "
            f"below the dense one in {worst['backend']} {worst['precision']}, and "
            f"accept.max_top1_drop allows {limit:g}; the table is in {path}"
        )
    record = {"max_top1_drop": limit, "largest_drop": float(worst["top1_drop"])}
    files.write_json(Path(options.results) / "accept.json", record)
    cli.log.info("accepted: the largest drop is %.2f points", worst["top1_drop"])


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")
    cli.run(main, parser)
