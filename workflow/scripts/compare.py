#!/usr/bin/env python3
"""Bring all measurements of a run together in one table: comparison.csv and comparison.md.

Uses the config's sections sparsity (algorithm), deploy and benchmark (batch_sizes).
"""

from __future__ import annotations

from pathlib import Path

from twofour import cli, comparison, config, deploy, files, names


def main(options) -> None:
    settings = config.load(options.config)
    results = Path(options.results)
    table = comparison.build(
        results,
        names.models(settings["sparsity"]["algorithm"]),
        deploy.cases(settings["deploy"]),
        settings["benchmark"]["batch_sizes"],
    )
    text = comparison.words(table)
    with files.atomic(results / "comparison.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    files.write_text(results / "comparison.md", comparison.markdown(table, text))
    cli.log.info("%s", text)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")
    cli.run(main, parser)
