#!/usr/bin/env python3
"""Prune a dense network to 2:4 sparsity, without retraining."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import MASKS, SPARSITY, WEIGHTS
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.network import weights
    from twofour.sparse import inputs, layers, masks, pattern, prune
    from twofour.train import metrics

    settings = stages.load(options.config, "prune")
    if options.training and settings.sparsity.require_learnt:
        metrics.require_learnt(files.read_json(options.training), options.training)
    dense, network = weights.load_network(options.weights, settings.model)
    choices = layers.choose(network.weights, settings.sparsity.include, settings.sparsity.exclude)
    layers.require_some(choices)
    if options.choice:
        choices = layers.taken(options.choice, choices)
    names = layers.chosen(choices)
    norms = inputs.load(options.inputs, network.weights) if options.inputs else None
    pruned, kept = prune.prune(dense, names, options.algorithm, norms)
    pattern.require(pruned, names, "the pruned network")
    unpermuted = None
    if options.unpermuted and options.algorithm in masks.BY_MAGNITUDE:
        unpermuted = weights.load(options.unpermuted)
        weights.require(unpermuted, names, options.unpermuted)
    report = prune.report(pruned, dense, choices, options.algorithm, unpermuted)

    out = Path(options.out)
    masks.save(out / MASKS, kept)
    weights.save(out / WEIGHTS, pruned)
    files.write_json(out / SPARSITY, report)
    total = report["total"]
    without = total.get("kept_magnitude_unpermuted")
    cli.log.info(
        "pruned %d of %d layers to density %.3f by %s; %.2f %% of their magnitude is kept%s",
        total["layers"],
        len(network.weights),
        total["density"],
        options.algorithm,
        100 * total["kept_magnitude"],
        f" (without permutation {100 * without:.2f} %)" if without else "",
    )


def arguments(parser) -> None:
    from twofour.sparse.masks import ALGORITHMS

    parser.add_argument("--weights", required=True, metavar="FILE", help="dense model.pdparams")
    parser.add_argument(
        "--unpermuted", metavar="FILE", help="the weights before permutation, to compare with"
    )
    parser.add_argument("--algorithm", default="mask_1d", choices=list(ALGORITHMS))
    parser.add_argument(
        "--training", metavar="FILE", help="its train.json: refuse a network that did not learn"
    )
    parser.add_argument(
        "--inputs", metavar="FILE", help="inputs.npz, for algorithms that go by inputs"
    )
    parser.add_argument("--choice", metavar="FILE", help="choice.json: which layers stay dense")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
