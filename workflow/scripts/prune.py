#!/usr/bin/env python3
"""Prune a dense network to 2:4 sparsity, without retraining.

Uses the config's sections model and sparsity.
"""

from __future__ import annotations

from pathlib import Path

from twofour import architecture, cli, config, files, hardware, masks, sparsity, weights
from twofour.errors import TwoFourError


def main(options) -> None:
    settings = config.load(options.config)
    hardware.start({"device": "cpu", "threads": "auto"})
    dense = weights.load(options.weights)
    network = architecture.resnet(settings["model"], weights.classes(dense, options.weights))
    exclude = settings["sparsity"]["exclude"]
    names = sparsity.choose(network.weights, exclude)
    if not names:
        raise TwoFourError(
            "no layer is left to prune: sparsity.exclude names them all; shorten the list"
        )
    weights.require(dense, network.weights, options.weights)
    pruned, kept = sparsity.prune(dense, names, settings["sparsity"]["algorithm"])
    sparsity.require(pruned, names, "the pruned network")
    layers = {name: pruned[name] for name in network.weights}
    report = sparsity.report(layers, exclude, before=dense)

    out = Path(options.out)
    masks.save(out / "masks.npz", kept)
    weights.save(out / "model.pdparams", pruned)
    files.write_json(out / "sparsity.json", report)
    total = report["total"]
    cli.log.info(
        "pruned %d of %d layers to density %.3f; %.1f %% of their magnitude is kept",
        total["layers"],
        len(network.weights),
        total["density"],
        100 * total["kept_magnitude"],
    )


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--weights", required=True, metavar="FILE", help="dense model.pdparams")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    cli.run(main, parser)
