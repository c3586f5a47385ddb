#!/usr/bin/env python3
"""Write the networks of a configuration as they are before any training, dense and pruned.

Their weights are those that the configuration begins with, or random ones: how long kernels take
hardly depends on what the weights are.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import CLASSES, SPARSITY, WEIGHTS
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.data import sources
    from twofour.network import architecture, stand_in, weights
    from twofour.sparse import layers, masks, prune

    settings = stages.load(options.config, "preview_weights")
    _, _, classes = sources.count(settings.data)
    out = Path(options.out)
    network = architecture.resnet(settings.model, classes)
    state = stand_in.random_state(network)
    given = settings.dense.weights or settings.train.init
    if given:
        key = "dense.weights" if settings.dense.weights else "train.init"
        state.update(weights.fitting(given, network, key)[0])
    weights.save(out / options.dense / WEIGHTS, state)
    cli.log.info("weights %s, %d classes", f"of {given}" if given else "are random", classes)
    if not options.pruned:
        return
    sparsity = settings.sparsity
    choices = layers.choose(network.weights, sparsity.include, sparsity.exclude)
    layers.require_some(choices)
    algorithm = next(iter(models.branches(sparsity.algorithm).values()))
    # Which of the weights are zeros does not matter for speed either.
    by = algorithm if algorithm in masks.BY_MAGNITUDE else models.PLAIN
    pruned, _ = prune.prune(state, layers.chosen(choices), by)
    weights.save(out / options.pruned / WEIGHTS, pruned)
    files.write_json(out / options.pruned / SPARSITY, prune.report(pruned, state, choices, by))
    files.write_text(out / CLASSES, "".join(f"{number}\n" for number in range(classes)))


def arguments(parser) -> None:
    parser.add_argument("--dense", required=True, metavar="NAME", help="of the dense network")
    parser.add_argument("--pruned", metavar="NAME", help="of the pruned one; without it, none")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for all of them")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
