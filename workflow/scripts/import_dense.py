#!/usr/bin/env python3
"""Take a finished network as the dense one: evaluate it, and write it as a training would."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists
    from twofour.network import architecture
    from twofour.system import libraries

    settings = stages.load(options.config, "import_dense")
    dataset = lists.read(options.data)
    machine = libraries.start(settings.hardware)
    from twofour.data import loader
    from twofour.train import given

    network = architecture.resnet(settings.model, len(dataset.classes))
    images = loader.for_evaluation(
        dataset.val,
        settings.data,
        network.input_channels,
        settings.evaluation.batch_size,
        machine,
    )
    path, data = Path(options.file), Path(options.data)
    state, summary = given.take(path, network, settings.data.image_size, images, data, machine)
    given.write(Path(options.out), path, state, summary)
    cli.log.info(
        "%s of %s: top-1 %.2f %%, top-5 %.2f %% of %d images",
        path,
        summary["given"]["library"],
        summary["top1"],
        summary["top5"],
        summary["val_images"],
    )


def arguments(parser) -> None:
    parser.add_argument("file", metavar="FILE", help=".pth, .pt, .safetensors or .pdparams")
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
