#!/usr/bin/env python3
"""Measure throughput and latency of one backend's models at one batch size, side by side.

Uses the config's sections data, model, benchmark (warmup and steps) and hardware.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twofour import cli, config, dataset, deploy, files, hardware, measure
from twofour.errors import TwoFourError

import numpy as np


def main(options) -> None:
    settings = config.load(options.config)
    if not len(options.model) == len(options.build) == len(options.out):
        raise TwoFourError("--model, --build and --out need as many folders or files each")
    images = dataset.read(options.data)
    machine = hardware.prepare(settings["hardware"])
    (name, *_) = {files.read_json(Path(build) / deploy.BUILD)["backend"] for build in options.build}
    place = deploy.place(name, settings["hardware"])
    loaded = {
        out: deploy.load(Path(model), Path(build), place)
        for model, build, out in zip(options.model, options.build, options.out)
    }
    predictors = {out: predict for out, (predict, _) in loaded.items()}
    data, channels = settings["data"], settings["model"]["input_channels"]
    size, batch_size = data["image_size"], options.batch_size
    steps, warmup = settings["benchmark"]["steps"], settings["benchmark"]["warmup"]
    batch = np.random.default_rng(0).standard_normal((batch_size, channels, size, size))
    fixed = measure.synthetic(predictors, batch.astype(np.float32), warmup, steps)

    from twofour.loader import Loader  # after PaddlePaddle: both bring an OpenMP library

    paths, _ = images.val

    def batches() -> Iterator[np.ndarray]:
        # Only full batches: a short list is repeated, and what is left of a long one is dropped.
        full = (paths * -(-batch_size // len(paths)))[
            : max(1, len(paths) // batch_size) * batch_size
        ]
        loader = Loader(
            full,
            batch_size,
            data,
            channels,
            training=False,
            threads=machine.threads,
            device=machine.device,
        )
        while True:
            for pictures, _ in loader.epoch():
                yield pictures

    files_too = measure.end_to_end(predictors, batches, steps)
    for model, (out, (_, built)) in zip(options.model, loaded.items()):
        result = {
            "backend": built["backend"],
            "precision": built["precision"],
            "device": place.device,
            "device_name": place.name,
            "threads": machine.threads,
            "batch_size": batch_size,
            "warmup": warmup,
            "steps": steps,
            "size_mb": built["size_mb"],
            "sparse_kernels": built["sparse_kernels"],
            "note": built["note"],
            "synthetic": fixed[out],
            "end_to_end": files_too[out],
        }
        files.write_json(out, result)
        cli.log.info(
            "%s: %.1f img/s, %.2f ms a batch of %d (median); from files %.1f img/s",
            model,
            fixed[out]["throughput_img_s"],
            fixed[out]["latency_ms"]["p50"],
            batch_size,
            files_too[out]["throughput_img_s"],
        )


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--model", required=True, nargs="+", metavar="DIR", help="exported models")
    parser.add_argument("--build", required=True, nargs="+", metavar="DIR", help="what was built")
    parser.add_argument("--batch-size", required=True, type=int, metavar="N")
    parser.add_argument(
        "--out", required=True, nargs="+", metavar="FILE", help="JSON files to write"
    )
    cli.run(main, parser)
