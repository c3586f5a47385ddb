#!/usr/bin/env python3
"""Measure throughput and latency of one backend's models at one batch size, side by side."""

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
        out: build.load(Path(model), Path(folder), target)
        for model, folder, out in zip(options.model, options.build, options.out)
    }
    predictors = {out: predict for out, (predict, _) in loaded.items()}
    layered = {
        out: predict.layer_ms for out, predict in predictors.items() if hasattr(predict, "layer_ms")
    }
    # The first model takes a second turn in each round: what it differs from itself is noise.
    predictors[AGAIN], _ = build.load(Path(options.model[0]), Path(options.build[0]), target)
    if options.floating:
        predictors[FLOATING], _ = build.load(Path(options.model[0]), Path(options.floating), target)
    size, batch_size = settings.data.image_size, options.batch_size
    steps, warmup = settings.benchmark.steps, settings.benchmark.warmup
    shape = (batch_size, settings.model.input_channels, size, size)
    pictures, meter = noise.images(shape), power.meter(target)
    fixed = benchmark.synthetic(predictors, pictures, warmup, steps, meter)
    layers = {out: times(pictures) for out, times in layered.items()}
    from twofour.data import loader  # after the backend, which may load PaddlePaddle

    def batches(split):
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

    files_too = {}
    if judged:
        files_too = benchmark.end_to_end(predictors, partial(batches, judged), steps)
    for model, (out, (_, built)) in zip(options.model, loaded.items()):
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
            "synthetic": fixed[out],
            "end_to_end": files_too.get(out),
        }
        if out in layers:
            result["layer_ms"] = layers[out]
        if out == options.out[0]:
            result.update(
                (name, {"synthetic": fixed[name], "end_to_end": files_too.get(name)})
                for name in (AGAIN, FLOATING)
                if name in predictors
            )
        files.write_json(out, result)
        read = f"; from files {files_too[out]['throughput_img_s']:.1f} img/s" if files_too else ""
        cli.log.info(
            "%s: %.1f img/s, %.2f ms per batch of %d (median)%s",
            *(model, fixed[out]["throughput_img_s"], fixed[out]["latency_ms"]["p50"], batch_size),
            read,
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
    parser.add_argument("--batch-size", required=True, type=int, metavar="N")
    parser.add_argument(
        "--out", required=True, nargs="+", metavar="FILE", help="JSON files to write"
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
