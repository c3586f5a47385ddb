#!/usr/bin/env python3
"""Measure throughput and latency of one backend's models side by side, at each batch size."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from twofour import command
from twofour.artifacts import BUILD
from twofour.system import cli, files
from twofour.system.errors import TwoFourError

AGAIN = "again"  # the first model, once more
FLOATING = "floating"  # the first model, in fp32


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists, noise
    from twofour.deploy import backends, benchmark, build
    from twofour.system import libraries, power

    settings = stages.load(options.config, "benchmark")
    if not len(options.model) == len(options.build) == len(options.out):
        raise TwoFourError("--model, --build and --out must each name the same number of paths")
    judged = lists.read(options.data).val if options.data else None
    machine = libraries.prepare(settings.hardware)
    (backend, *_) = {files.read_json(Path(b) / BUILD)["backend"] for b in options.build}
    target = backends.target(backend, settings.hardware)
    loaded = {
        model: build.load(Path(model), Path(folder), target)
        for model, folder in zip(options.model, options.build)
    }
    predictors = {model: predict for model, (predict, _) in loaded.items()}
    layered = {
        model: predict.layer_ms
        for model, predict in predictors.items()
        if hasattr(predict, "layer_ms")
    }
    # The first model takes a second turn in each round: what it differs from itself is noise.
    predictors[AGAIN], _ = build.load(Path(options.model[0]), Path(options.build[0]), target)
    if options.floating:
        predictors[FLOATING], _ = build.load(Path(options.model[0]), Path(options.floating), target)
    size, steps, warmup = (
        settings.data.image_size,
        settings.benchmark.steps,
        settings.benchmark.warmup,
    )
    meter = power.meter(target)

    def batches(split, batch_size):
        from twofour.data import loader  # after the backend, which may load PaddlePaddle

        images = loader.for_evaluation(
            benchmark.full_batches(split, batch_size),
            settings.data,
            settings.model.input_channels,
            batch_size,
            machine,
        )
        while True:
            for read, _ in images.epoch():
                yield read

    results: dict[str, dict] = {model: {} for model in options.model}
    for batch_size in options.batch_size:
        pictures = noise.images((batch_size, settings.model.input_channels, size, size))
        fixed = benchmark.synthetic(predictors, pictures, warmup, steps, meter)
        layers = {model: times(pictures) for model, times in layered.items()}
        files_too = {}
        if judged:
            stream = partial(batches, judged, batch_size)
            files_too = benchmark.end_to_end(predictors, stream, steps)
        for model, (_, built) in loaded.items():
            result = {
                "backend": built["backend"],
                "precision": built["precision"],
                "device": target.device,
                "device_name": target.name,
                "threads": machine.threads,
                "batch_size": batch_size,
                "warmup": warmup,
                "steps": steps,
                "size_mb": built["size_mb"],
                "sparse_kernels": built["sparse_kernels"],
                "note": built["note"],
                "synthetic": fixed[model],
                "end_to_end": files_too.get(model),
            }
            if model in layers:
                result["layer_ms"] = layers[model]
            if model == options.model[0]:
                result.update(
                    (name, {"synthetic": fixed[name], "end_to_end": files_too.get(name)})
                    for name in (AGAIN, FLOATING)
                    if name in predictors
                )
            results[model][str(batch_size)] = result
            _tell(model, batch_size, fixed[model], files_too.get(model))
    for path, result in zip(options.out, results.values()):
        files.write_json(path, result)


def _tell(model: str, batch_size: int, fixed: dict, from_files: dict | None) -> None:
    rate = from_files and f"; from files {from_files['throughput_img_s']:.1f} img/s"
    cli.log.info(
        "%s: %.1f img/s, %.2f ms per batch of %d (median)%s",
        *(model, fixed["throughput_img_s"], fixed["latency_ms"]["p50"], batch_size, rate or ""),
    )


def arguments(parser) -> None:
    parser.add_argument(
        "--data", metavar="DIR", help="the dataset stage's artifacts; without it no file is read"
    )
    parser.add_argument("--model", required=True, nargs="+", metavar="DIR", help="exported models")
    parser.add_argument("--build", required=True, nargs="+", metavar="DIR", help="what was built")
    parser.add_argument(
        "--floating", metavar="DIR", help="build of the first model in fp32, to be measured as well"
    )
    parser.add_argument("--batch-size", required=True, nargs="+", type=int, metavar="N")
    parser.add_argument(
        "--out",
        required=True,
        nargs="+",
        metavar="FILE",
        help="JSON files to write, {batch size: figures}",
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
