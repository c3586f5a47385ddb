#!/usr/bin/env python3
"""Choose the layers that become sparse within a budget, from their measured sensitivity."""

from __future__ import annotations

from dataclasses import asdict

from twofour import command
from twofour.system import cli, files
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour import stages
    from twofour.network import architecture
    from twofour.sparse import choice, layers

    settings = stages.load(options.config, "choose_layers")
    path = choice.read(options.path, choice.PATH)
    # The number of classes does not matter here: the names of the layers do.
    network = architecture.resnet(settings.model, classes=2)
    before = layers.choose(network.weights, settings.sparsity.include, settings.sparsity.exclude)
    budget = settings.sparsity.choose.max_top1_drop
    if budget is None:
        raise TwoFourError("sparsity.choose.max_top1_drop is null: there is nothing to choose by")
    chosen = choice.within(path, budget)
    made = choice.choices(before, chosen, path, budget)
    record = {
        "max_top1_drop": budget,
        "layers": chosen.layers,
        "of": chosen.of,
        "top1_drop": chosen.drop,
        "gain": chosen.gain,
        "gain_ms": chosen.gain_ms,
        "choices": {name: asdict(one) for name, one in made.items()},
    }
    files.write_json(options.out, record)
    cli.log.info(
        "%d of %d layers become sparse: together they cost %.2f points of top-1 before retraining, "
        "at most %g are allowed; 2:4 saves %.1f %% of the multiplications instead of %.1f %%",
        *(chosen.layers, chosen.of, chosen.drop, budget, chosen.gain, path.gain.iloc[-1]),
    )


def arguments(parser) -> None:
    parser.add_argument("--path", required=True, metavar="FILE", help="path.csv")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
