#!/usr/bin/env python3
"""Measure the accuracy of a deployed model, in each of its builds, over the whole validation list.

Every image counts exactly once, and each build must agree with the training graph, or, in int8,
with the same quantised network computed in floating point. What an earlier job found of a build
stands unless something that decides it has changed.
"""

from __future__ import annotations

import functools
from pathlib import Path

from twofour import command
from twofour.artifacts import BUILD, INT8, KEPT
from twofour.system import cli, files
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour import config, stages
    from twofour.data import lists
    from twofour.deploy import backends, kept, predicted
    from twofour.system import libraries, sections

    if not len(options.build) == len(options.out) == len(options.predictions):
        raise TwoFourError("--build, --out and --predictions must each name as many paths")
    settings = stages.load(options.config, "evaluate")
    dataset = lists.read(options.data)
    machine = libraries.prepare(settings.hardware)
    computed_with = config.compact(sections.select(settings, stages.EVALUATED))
    sha256 = functools.cache(files.sha256)

    def compared_with(precision):
        return (options.quantized if precision == INT8 else None) or options.reference

    folders = [Path(folder) for folder in options.build]
    built = {folder: files.read_json(folder / BUILD) for folder in folders}
    keys, known = {}, {}
    for folder, record in built.items():
        graphs = options.reference, compared_with(record["precision"])
        keys[folder] = stages.digest(
            *(computed_with, stages.code("evaluate", f"deploy.backends.{record['backend']}")),
            *(dataset.content, *map(sha256, (folder / BUILD, *graphs))),
        )
        known[folder] = kept.read(folder / KEPT, keys[folder])
        if known[folder] is None and backends.about(record["backend"]).in_paddle:
            libraries.import_paddle()  # before the images' loader
    from twofour.deploy import build, evaluate, reference

    read = functools.cache(lambda graph: reference.read(graph, dataset.content))

    @functools.cache
    def images():
        from twofour.data import loader

        return loader.for_evaluation(
            dataset.val,
            settings.data,
            settings.model.input_channels,
            settings.evaluation.batch_size,
            machine,
        )

    def evaluated(folder, target, precision):
        predict, _ = build.load(Path(options.model), folder, target)
        expected, floating = read(compared_with(precision)), read(options.reference)
        found = evaluate.evaluate(predict, images(), dataset.val.labels, expected, floating)
        kept.write(folder / KEPT, keys[folder], *found)
        return found

    by_precision: dict[str, list[float]] = {}
    for folder, out, predictions in zip(folders, options.out, options.predictions):
        backend, precision = built[folder]["backend"], built[folder]["precision"]
        target = backends.target(backend, settings.hardware)
        result, found = known[folder] or evaluated(folder, target, precision)
        tolerance = getattr(settings.evaluation.tolerance, precision)
        what = f"{options.model} in {backend} {precision}"
        evaluate.require_agreement(result, what, precision, tolerance)
        result["agreement"]["tolerance"] = tolerance
        about = {"backend": backend, "precision": precision, "device": target.device}
        predicted.write(predictions, found, dataset.content)
        files.write_json(out, {**about, **result})
        cli.log.info(
            "%s %s%s: top-1 %.2f %%, top-5 %.2f %% of %d images; largest difference from %s %.1e",
            backend,
            precision,
            " (known)" if known[folder] else "",
            result["top1"],
            result["top5"],
            result["images"],
            evaluate.graph(precision),
            result["agreement"]["largest_difference"],
        )
        by_precision.setdefault(precision, []).append(result["top1"])
    cli.log.info("top-1 %s", evaluate.summary(by_precision))


def arguments(parser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument("--build", required=True, nargs="+", metavar="DIR", help="builds of it")
    parser.add_argument(
        "--reference", required=True, metavar="FILE", help="the training graph's output"
    )
    parser.add_argument(
        "--quantized",
        metavar="FILE",
        help="the quantised network's output in floating point, with which int8 must agree instead",
    )
    parser.add_argument(
        "--out", required=True, nargs="+", metavar="FILE", help="a JSON file for each build"
    )
    parser.add_argument(
        "--predictions",
        required=True,
        nargs="+",
        metavar="FILE",
        help="an .npz file for each build: image by image",
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
