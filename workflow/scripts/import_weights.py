#!/usr/bin/env python3
"""Write the weights of another library's ResNet as a .pdparams file of ours, for train.init."""

from __future__ import annotations

from twofour import command
from twofour.system import cli
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour import config, stages
    from twofour.network import architecture, weights

    settings = stages.load(options.config, "import_weights")
    # Without a configuration, the network is the one of the plain ones that the file is of.
    models = [settings.model]
    if options.config == "{}":
        models = [
            config.validated({"model": {"name": name}}).model for name in architecture.RESNETS
        ]
    reasons = []
    for model in models:
        try:
            state, network, source = weights.foreign_network(options.file, model)
            break
        except TwoFourError as error:
            reasons.append(str(error))
    else:
        if len(models) == 1 or len(set(reasons)) == 1:
            raise TwoFourError(reasons[0])
        raise TwoFourError(
            f"{options.file} is of none of {', '.join(architecture.RESNETS)} in their plain form; "
            "describe its network in a configuration (section model) and name that with --config"
        )
    weights.save(options.out, state)
    cli.log.info(
        "wrote %s: %s of %s, %d parameters, %d classes",
        options.out,
        network.name,
        source,
        network.parameters,
        network.classes,
    )


def arguments(parser) -> None:
    parser.add_argument("file", metavar="FILE", help=".pth, .pt, .safetensors or .pdparams")
    parser.add_argument("--out", required=True, metavar="FILE", help=".pdparams file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
