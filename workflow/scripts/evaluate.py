#!/usr/bin/env python3
"""Measure a deployed model's accuracy over the whole validation list.

Every image counts exactly once, and the deployed model must agree with the training graph, or, in
int8, with the same quantised network computed in floating point.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import BUILD
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists
    from twofour.deploy import backends, build
    from twofour.system import libraries

    settings = stages.load(options.config, "evaluate")
    dataset = lists.read(options.data)
    machine = libraries.prepare(settings.hardware)
    folder = Path(options.build)
    backend = files.read_json(folder / BUILD)["backend"]
    target = backends.target(backend, settings.hardware)
    predict, built = build.load(Path(options.model), folder, target)
    from twofour.data import loader  # after the backend, which may load PaddlePaddle
    from twofour.deploy import evaluate, predicted, reference

    precision = built["precision"]
    tolerance = getattr(settings.evaluation.tolerance, precision)
    images = loader.for_evaluation(
        dataset.val,
        settings.data,
        settings.model.input_channels,
        settings.evaluation.batch_size,
        machine,
    )
    floating = reference.read(options.reference, dataset.content)
    expected = floating
    if options.quantized:
        expected = reference.read(options.quantized, dataset.content)
    result, found = evaluate.evaluate(predict, images, dataset.val.labels, expected, floating)
    evaluate.require_agreement(
        result, f"{options.model} in {backend} {precision}", precision, tolerance
    )
    result["agreement"]["tolerance"] = tolerance
    about = {"backend": backend, "precision": precision, "device": target.device}
    predicted.write(options.predictions, found, dataset.content)
    files.write_json(options.out, {**about, **result})
    cli.log.info(
        "top-1 %.2f %%, top-5 %.2f %% of %d images; largest difference from %s %.1e",
        result["top1"],
        result["top5"],
        result["images"],
        evaluate.graph(precision),
        result["agreement"]["largest_difference"],
    )


def arguments(parser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument("--build", required=True, metavar="DIR", help="the build of it")
    parser.add_argument(
        "--reference", required=True, metavar="FILE", help="the training graph's output"
    )
    parser.add_argument(
        "--quantized",
        metavar="FILE",
        help="the quantised network's output in floating point, with which int8 must agree instead",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument(
        "--predictions", required=True, metavar="FILE", help=".npz file to write: image by image"
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
