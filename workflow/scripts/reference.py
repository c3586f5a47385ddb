#!/usr/bin/env python3
"""Write the training graph's class probabilities for every validation image.

All deployed forms of the model are compared with them.
"""

from __future__ import annotations

from twofour import command
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists
    from twofour.network import weights
    from twofour.system import libraries

    settings = stages.load(options.config, "reference")
    dataset = lists.read(options.data)
    machine = libraries.start(settings.hardware)
    from twofour.data import loader
    from twofour.deploy import inference, reference
    from twofour.network.inference import Inference

    state, network = weights.load_network(options.weights, settings.model)
    infer = Inference(network, settings.data.image_size, machine.device).load(state)
    images = loader.for_evaluation(
        dataset.val,
        settings.data,
        network.input_channels,
        settings.evaluation.batch_size,
        machine,
    )
    probabilities = inference.infer(infer, images, network.classes)
    reference.write(options.out, probabilities, dataset.content)
    cli.log.info("wrote the training graph's probabilities for %d images", len(probabilities))


def arguments(parser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--weights", required=True, metavar="FILE", help="model.pdparams")
    parser.add_argument("--out", required=True, metavar="FILE", help=".npz file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
