#!/usr/bin/env python3
"""Write the class probabilities of a quantised network, computed in floating point.

That is the Q/DQ file as it is written, operator by operator, for every validation image. All
engines' int8 forms of the model are compared with it.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists, loader
    from twofour.deploy import inference, reference
    from twofour.quantization import observe, onnx_graph
    from twofour.system import libraries
    from twofour.system.settings import Hardware

    settings = stages.load(options.config, "reference_int8")
    machine = libraries.prepare(Hardware(device="cpu", threads=settings.hardware.threads))
    dataset = lists.read(options.data)
    graph = onnx_graph.load(Path(options.onnx))
    (result,) = (output.name for output in graph.proto.output)
    run = observe.runner(graph, [result], machine.threads)
    images = loader.for_evaluation(
        dataset.val,
        settings.data,
        settings.model.input_channels,
        settings.evaluation.batch_size,
        machine,
    )
    found = inference.infer(lambda batch: run(batch)[result], images, len(dataset.classes))
    reference.write(options.out, found, dataset.content)
    cli.log.info("wrote the quantised network's probabilities for %d images", len(found))


def arguments(parser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--onnx", required=True, metavar="FILE", help="model.int8.onnx")
    parser.add_argument("--out", required=True, metavar="FILE", help=".npz file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
