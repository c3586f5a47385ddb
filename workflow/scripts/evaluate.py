#!/usr/bin/env python3
"""Measure a deployed model's accuracy over the whole validation list.

Every image counts exactly once. The training graph sees the same batches, and the deployed model
must agree with it. Uses the config's sections data, model, evaluation and hardware.
"""

from __future__ import annotations

from pathlib import Path

from twofour import (
    architecture,
    cli,
    config,
    dataset,
    deploy,
    files,
    hardware,
    metrics,
    progress,
    weights,
)
from twofour.errors import TwoFourError

import numpy as np


def main(options) -> None:
    settings = config.load(options.config)
    images = dataset.read(options.data)
    machine = hardware.start(settings["hardware"])
    build = Path(options.build)
    record = files.read_json(build / deploy.BUILD)
    place = deploy.place(record["backend"], settings["hardware"])
    predict, built = deploy.load(Path(options.model), build, place)
    tolerance = settings["evaluation"]["tolerance"][built["precision"]]
    state = weights.load(options.weights)
    network = architecture.resnet(settings["model"], weights.classes(state, options.weights))
    reference = _training_graph(network, state, settings["data"], machine)

    from twofour.loader import Loader  # after PaddlePaddle: both bring an OpenMP library

    paths, labels = images.val
    loader = Loader(
        paths,
        settings["evaluation"]["batch_size"],
        settings["data"],
        network.input_channels,
        training=False,
        threads=machine.threads,
        device=machine.device,
    )
    deployed, graph = metrics.Tally(labels), metrics.Tally(labels)
    largest, equal = 0.0, 0
    with progress.bar(loader.steps, "evaluating", "batch") as bar:
        for batch, positions in loader.epoch():
            ours, theirs = predict(batch), reference(batch)
            deployed.add(ours, positions)
            graph.add(theirs, positions)
            largest = max(largest, float(np.abs(ours - theirs).max()))
            equal += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
            bar.update()
    result = {
        "backend": built["backend"],
        "precision": built["precision"],
        "device": place.device,
        **deployed.result(),
        "training_graph": graph.result(),
        "agreement": {
            "largest_difference": largest,
            "equal_predictions": equal / len(labels),
            "tolerance": tolerance,
        },
    }
    if not largest <= tolerance:
        raise TwoFourError(
            f"{options.model} in {built['backend']} {built['precision']} differs from the training "
            f"graph by {largest:.3g} in a class probability, more than "
            f"evaluation.tolerance.{built['precision']} ({tolerance:g}) allows; {equal} of "
            f"{len(labels)} predictions are equal"
        )
    files.write_json(options.out, result)
    cli.log.info(
        "%s %s: top-1 %.2f %%, top-5 %.2f %% of %d images; largest difference from the training "
        "graph %.1e",
        built["backend"],
        built["precision"],
        result["top1"],
        result["top5"],
        result["images"],
        largest,
    )


def _training_graph(network, state, data, machine):
    """A predictor of the graph as it was validated in training, with the weights ``state``."""
    from twofour import model, program

    import paddle

    built = program.build_inference(network, data, machine.device)
    place = program.place(machine.device)
    executor = paddle.static.Executor(place)
    executor.run(built.startup)
    names = model.state_names(network)
    weights.require(state, names, "the weights")
    weights.write_scope({name: state[name] for name in names}, place)
    return built.predictor(executor)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument("--build", required=True, metavar="DIR", help="what was built of it")
    parser.add_argument("--weights", required=True, metavar="FILE", help="its model.pdparams")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    cli.run(main, parser)
