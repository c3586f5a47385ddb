#!/usr/bin/env python3
"""Export a network as a Paddle inference model and an ONNX file, and check what was written."""

from __future__ import annotations

import shutil
from pathlib import Path

from twofour import command
from twofour.artifacts import CLASSES, DESCRIPTION
from twofour.system import cli, files
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour import stages
    from twofour.network import weights
    from twofour.system import libraries
    from twofour.system.settings import Hardware

    settings = stages.load(options.config, "export")
    libraries.start(Hardware(device="cpu"))
    from twofour.deploy import export

    state, network = weights.load_network(options.weights, settings.model)
    names = files.read_text(options.classes).split("\n")[:-1]
    if len(names) != network.classes:
        raise TwoFourError(
            f"{options.classes} names {len(names)} classes, but {options.weights} has "
            f"{network.classes}"
        )
    out = Path(options.out)
    export.export(network, state, settings.data.image_size, out)
    export.require_same(network, state, out)
    with files.atomic(out / CLASSES) as temporary:
        shutil.copyfile(options.classes, temporary)
    files.write_json(out / DESCRIPTION, export.description(network, settings.data, names))
    cli.log.info("exported %s", out)


def arguments(parser) -> None:
    parser.add_argument("--weights", required=True, metavar="FILE", help="model.pdparams")
    parser.add_argument("--classes", required=True, metavar="FILE", help="classes.txt")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
