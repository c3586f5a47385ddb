#!/usr/bin/env python3
"""Measure what a network's layers read on images of the training list, for data-driven masks."""

from __future__ import annotations

from twofour import command
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists, loader
    from twofour.network import pieces, weights
    from twofour.sparse import inputs, sensitivity
    from twofour.system import libraries, progress
    from twofour.system.settings import Hardware

    settings = stages.load(options.config, "measure_inputs")
    machine = libraries.prepare(Hardware(device="cpu", threads=settings.hardware.threads))
    state, network = weights.load_network(options.weights, settings.model)
    images = lists.sample(lists.read_training(options.data), settings.sparsity.images)
    pictures = loader.for_evaluation(
        images, settings.data, network.input_channels, sensitivity.BATCH, machine
    )

    def batches():
        with progress.bar(pictures.steps, "measuring inputs", "batch") as bar:
            for batch, _ in pictures.epoch():
                yield batch
                bar.update()

    inputs.save(options.out, pieces.input_norms(network, state, batches(), machine.threads))
    cli.log.info(
        "norms of the inputs of %d layers, %d images", len(network.weights), pictures.images
    )


def arguments(parser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--weights", required=True, metavar="FILE", help="model.pdparams")
    parser.add_argument("--out", required=True, metavar="FILE", help="npz file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
