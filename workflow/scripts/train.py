#!/usr/bin/env python3
"""Train a network: dense from random weights, or sparse from pruned ones with their masks.

Uses the config's sections seed, data, model, train and hardware. Run again after an
interruption it goes on from its last checkpoint, in OUT/checkpoints, to the same result.
"""

from __future__ import annotations

from pathlib import Path

from twofour import (
    architecture,
    cli,
    config,
    dataset,
    files,
    hardware,
    lock,
    masks,
    sources,
    sparsity,
    weights,
)


def main(options) -> None:
    settings = config.load(options.config)
    images = dataset.read(options.data)
    network = architecture.resnet(settings["model"], len(images.classes))
    machine = hardware.start(settings["hardware"])
    precision = hardware.precision(settings["train"]["precision"], machine.device)
    identity = {"code": sources.digest("train.py"), "dataset": images.content}
    initial = kept = None
    out = Path(options.out)
    if options.start:
        start = Path(options.start)
        pruning = files.read_json(start / "sparsity.json")
        initial = weights.load(start / "model.pdparams")
        kept = masks.load(start / "masks.npz")
        sparsity.require(initial, kept, str(start / "model.pdparams"))
        names = ("model.pdparams", "masks.npz")
        identity["start"] = {name: files.sha256(start / name) for name in names}

    from twofour import training  # loads PaddlePaddle, so not before its threads are set

    with lock.exclusive(out / training.CHECKPOINTS):
        run = training.Training(
            settings, machine, precision, network, images, identity, out, initial, kept
        )
        summary = run.run()
    if kept is not None:
        trained = weights.load(out / "model.pdparams")
        sparsity.require(trained, kept, str(out / "model.pdparams"))
        report = sparsity.report(trained, sparsity.choices(pruning))
        files.write_json(out / "sparsity.json", report)
    cli.log.info(
        "top-1 %.2f %%, top-5 %.2f %% of %d images after %d epochs in %.0f s (%s, %s)",
        summary["top1"],
        summary["top5"],
        summary["val_images"],
        summary["epochs"],
        summary["seconds"],
        summary["precision"],
        summary["device_name"],
    )


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--start", metavar="DIR", help="the pruning stage's artifacts; makes the training sparse"
    )
    cli.run(main, parser)
