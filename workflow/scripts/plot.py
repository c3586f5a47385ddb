#!/usr/bin/env python3
"""Draw the pictures of a run: training curves, accuracy and throughput, density by layer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from twofour import cli, comparison, files, plots
from twofour.names import DENSE, SPARSE


def main(options) -> None:
    results = Path(options.results)
    out = results / "plots"
    trained = (DENSE, SPARSE)
    histories = {name: pd.read_csv(results / name / "metrics.csv") for name in trained}
    plots.training(histories, out / "training.svg")
    plots.accuracy_and_throughput(comparison.read(results / "comparison.csv"), out / "models.svg")
    sparse = files.read_json(results / SPARSE / "sparsity.json")
    plots.density(sparse["layers"], out / "density.svg")
    cli.log.info("drew %s", ", ".join(sorted(str(path) for path in out.glob("*.svg"))))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")
    cli.run(main, parser)
