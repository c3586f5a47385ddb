#!/usr/bin/env python3
"""Reorder a network's channels so that 2:4 pruning keeps more of its magnitude.

Writes the permuted weights, after a check that they give the same outputs.
"""

from __future__ import annotations

import time
from pathlib import Path

from twofour import command
from twofour.artifacts import PERMUTATION, WEIGHTS
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.sparse import layers
    from twofour.system import libraries
    from twofour.system.settings import Hardware
    from twofour.train import metrics

    settings = stages.load(options.config, "permute")
    if options.training and settings.sparsity.require_learnt:
        metrics.require_learnt(files.read_json(options.training), options.training)
    threads = options.threads if options.threads == "auto" else int(options.threads)
    libraries.start(Hardware(device="cpu", threads=threads))
    from twofour.network import weights
    from twofour.sparse import permute

    dense, network = weights.load_network(options.weights, settings.model)
    choices = layers.choose(network.weights, settings.sparsity.include, settings.sparsity.exclude)
    names = layers.chosen(choices)
    start = time.perf_counter()
    orders = permute.find(network, dense, names, settings.seed)
    seconds = time.perf_counter() - start
    permuted = permute.apply(network, dense, orders)
    difference = permute.difference(
        network, dense, permuted, settings.data.image_size, settings.seed
    )
    record = permute.record(network, dense, permuted, names, orders, difference)
    out = Path(options.out)
    weights.save(out / WEIGHTS, permuted)
    files.write_json(out / PERMUTATION, record)
    kept = record["kept_magnitude_mask_1d"]
    cli.log.info(
        "reordered the channels of %d tensors in %.0f s: mask_1d keeps %.2f %% of the magnitude "
        "instead of %.2f %%; largest difference in a class probability %.1e",
        len(orders),
        seconds,
        100 * kept["after"],
        100 * kept["before"],
        difference,
    )


def arguments(parser) -> None:
    parser.add_argument("--weights", required=True, metavar="FILE", help="dense model.pdparams")
    parser.add_argument("--threads", default="auto", metavar="N", help="CPU threads")
    parser.add_argument(
        "--training", metavar="FILE", help="its train.json: refuse a network that did not learn"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
