#!/usr/bin/env python3
"""Draw the pictures of a run: training curves, accuracy and throughput, sparsity by layer.

Uses the config's sections sparsity (algorithm) and deploy.
"""

from __future__ import annotations

from pathlib import Path

from twofour import cli, comparison, config, deploy, files, names, plots
from twofour.names import DENSE, PRUNED, SPARSE

import pandas as pd


def main(options) -> None:
    settings = config.load(options.config)
    results = Path(options.results)
    out = results / "plots"
    branches = names.branches(settings["sparsity"]["algorithm"])
    trained = [DENSE, *(SPARSE + branch for branch in branches)]
    histories = {name: pd.read_csv(results / name / "metrics.csv") for name in trained}
    plots.training(histories, out / "training.svg")
    plots.accuracy_and_throughput(comparison.read(results / "comparison.csv"), out / "models.svg")
    layers = {
        kind: {
            branch: files.read_json(results / f"{kind}{branch}" / "sparsity.json")["layers"]
            for branch in branches
        }
        for kind in (PRUNED, SPARSE)
    }
    known = [row["name"].replace(".weight", "") for row in next(iter(layers[SPARSE].values()))]
    kernels = {}
    for backend, precision in deploy.cases(settings["deploy"]):
        for branch in branches:
            path = (
                results / "deploy" / f"{SPARSE}{branch}" / f"{backend}-{precision}" / deploy.BUILD
            )
            found = deploy.sparse_layers(files.read_json(path), known)
            if found is not None:
                kernels[f"{SPARSE}{branch} {precision}"] = found
    plots.layers(layers[PRUNED], layers[SPARSE], kernels, out / "layers.svg")
    cli.log.info("drew %s", ", ".join(sorted(str(path) for path in out.glob("*.svg"))))


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")
    cli.run(main, parser)
