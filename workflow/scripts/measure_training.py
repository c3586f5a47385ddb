#!/usr/bin/env python3
"""Measure a few training steps, to say how long a run's trainings take, and how much memory."""

from __future__ import annotations

from twofour import command
from twofour.system import cli, files


def main(options) -> None:
    from twofour import config, stages
    from twofour.data import sources
    from twofour.network import architecture, pieces
    from twofour.system import libraries, progress
    from twofour.train import estimate, footprint, precision

    settings = stages.load(options.config, "measure_training")
    images, val_images, classes = sources.count(settings.data)
    machine = libraries.start(settings.hardware, training=True)
    from twofour.train import rehearsal  # which loads PaddlePaddle

    chosen = precision.choose(settings.train.precision, machine)
    network = architecture.resnet(settings.model, classes)
    needed = footprint.require(settings, network, machine, chosen, footprint.free(machine))
    alone = rehearsal.seconds_per_image(settings, machine, chosen, classes)
    per_image = alone / machine.all_processes
    epochs = settings.train.epochs
    seconds = estimate.training_seconds(per_image, images, val_images, epochs)
    record = {
        "device_name": machine.name,
        "precision": chosen,
        "images": images,
        "epochs": epochs,
        "img_s": 1 / per_image,
        "seconds": seconds,
        "memory_gb": needed / 1e9,
        "rivals": pieces.relative_work(
            settings.model, config.rivals(settings), settings.data.image_size
        ),
    }
    files.write_json(options.out, record)
    cli.log.info(
        "%.3g img/s; a training of %d epochs of %d images takes about %s and %.1f GB",
        *(1 / per_image, epochs, images, progress.about(seconds), needed / 1e9),
    )


def arguments(parser) -> None:
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
