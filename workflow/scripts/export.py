#!/usr/bin/env python3
"""Export a network as a Paddle inference model and an ONNX file, and check what was written.

Uses the config's sections data and model.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from twofour import architecture, cli, config, files, hardware, weights
from twofour.deploy import CLASSES, ONNX
from twofour.errors import TwoFourError

import numpy as np


def main(options) -> None:
    settings = config.load(options.config)
    hardware.start({"device": "cpu", "threads": "auto"})
    state = weights.load(options.weights)
    network = architecture.resnet(settings["model"], weights.classes(state, options.weights))
    names = files.read_text(options.classes).split("\n")[:-1]
    if len(names) != network.classes:
        raise TwoFourError(
            f"{options.classes} names {len(names)} classes, but {options.weights} has "
            f"{network.classes}"
        )

    from twofour import export, model  # loads PaddlePaddle, so not before its threads are set

    needed = model.state_names(network)
    weights.require(state, needed, options.weights)
    out = Path(options.out)
    export.export(network, {name: state[name] for name in needed}, settings["data"], out)

    for artifact, found in (
        (out, export.paddle_weights(out)),
        (out / ONNX, export.onnx_weights(out / ONNX)),
    ):
        weights.require(found, network.weights, artifact)
        for name in network.weights:
            if not np.array_equal(found[name], state[name]):
                raise TwoFourError(f"{name} in {artifact} is not the weight that was exported")

    with files.atomic(out / CLASSES) as temporary:
        shutil.copyfile(options.classes, temporary)
    data = settings["data"]
    description = {
        "model": network.name,
        "input": {
            "name": "images",
            "shape": ["N", network.input_channels, data["image_size"], data["image_size"]],
            "type": "float32",
            "channels": ["red", "green", "blue", "zeros"][: network.input_channels],
            "resize_shorter_side": data["resize"],
            "centre_crop": data["image_size"],
            "mean": data["mean"],
            "std": data["std"],
        },
        "output": {"shape": ["N", network.classes], "meaning": "class probabilities"},
    }
    files.write_json(out / "model.json", description)
    cli.log.info("exported %s", out)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--weights", required=True, metavar="FILE", help="model.pdparams")
    parser.add_argument("--classes", required=True, metavar="FILE", help="classes.txt")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    cli.run(main, parser)
