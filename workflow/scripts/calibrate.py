#!/usr/bin/env python3
"""Find the ranges of a network's activations on images of the training list."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import ONNX
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists, loader, noise
    from twofour.quantization import calibration, fake
    from twofour.system import libraries, progress
    from twofour.system.settings import Hardware

    settings = stages.load(options.config, "calibrate")
    machine = libraries.prepare(Hardware(device="cpu", threads=settings.hardware.threads))
    model, chosen = Path(options.model), settings.quantization
    images, content, count = None, "noise", calibration.BATCH
    if options.data:
        dataset = lists.read(options.data)
        images, content = lists.sample(dataset.train, chosen.images), dataset.content
        count = len(images.paths)

    def batches():
        if images is None:
            size = settings.data.image_size
            yield noise.images((count, settings.model.input_channels, size, size))
            return
        pictures = loader.for_evaluation(
            images,
            settings.data,
            settings.model.input_channels,
            calibration.BATCH,
            machine,
        )
        with progress.bar(pictures.steps, "calibrating", "batch") as bar:
            for batch, _ in pictures.epoch():
                yield batch
                bar.update()

    limits, layers = calibration.calibrate(
        model,
        batches,
        chosen.algorithm,
        chosen.percentile,
        machine.threads,
        fake.read(options.ranges) if options.ranges else None,
    )
    onnx = files.sha256(model / ONNX)
    found = calibration.Calibration(limits, chosen.algorithm, count, content, onnx, layers)
    calibration.write(options.out, found)
    cli.log.info("ranges of %d activations by %s, %d images", len(limits), chosen.algorithm, count)


def arguments(parser) -> None:
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="the dataset stage's artifacts; without it the images are noise, which does for speed",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument(
        "--ranges", metavar="FILE", help="ranges.json of a quantisation-aware training, which stand"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
