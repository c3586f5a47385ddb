#!/usr/bin/env python3
"""Train a network: dense from random weights, or sparse from pruned ones with their masks.

Uses the config's sections seed, data, model, train and hardware. Run again after an
interruption it goes on from its last checkpoint, in OUT/checkpoints, to the same result. With
hardware.gpus (or cpu_processes on CPUs) above 1 it starts that many processes of itself, with
hardware.nodes above 1 on each of several nodes of a job of SLURM.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twofour import (
    architecture,
    cli,
    config,
    dataset,
    files,
    hardware,
    launch,
    lock,
    masks,
    recipe,
    slurm,
    sources,
    sparsity,
    weights,
)


def main(options) -> int | None:
    settings = config.load(options.config)
    machine = hardware.start(settings["hardware"], training=True)
    precision = hardware.precision(settings["train"]["precision"], machine)
    out = Path(options.out)
    if launch.launched():
        return train(settings, options, machine, precision)
    if slurm.on_a_node():
        arguments = _without_log(sys.argv[1:])
        return launch.run_on_node(Path(__file__), arguments, machine, out)
    try:
        run(settings, options, machine, precision)
    except cli.Interrupted as stop:
        if stop.again:
            slurm.start_again()
        raise
    return None


def run(settings: dict, options, machine: hardware.Hardware, precision: str) -> None:
    """The whole training, in this process or in several."""
    from twofour import training  # loads PaddlePaddle, so not before its threads are set

    out = Path(options.out)
    with lock.exclusive(out / training.CHECKPOINTS):
        if machine.all_processes == 1:
            train(settings, options, machine, precision)
        else:
            count = len(dataset.read(options.data).train[0])
            wanted = settings["train"]
            shards = machine.all_processes * wanted["accumulation"]
            recipe.steps_per_epoch(count, wanted["batch_size"], shards)  # said once, not by each
            launch.run(Path(__file__), _without_log(sys.argv[1:]), machine, out)
            summary = files.read_json(out / "train.json")
            _report(summary)


def train(settings: dict, options, machine: hardware.Hardware, precision: str) -> None:
    """The training, or one process's part of it."""
    images = dataset.read(options.data)
    network = architecture.resnet(settings["model"], len(images.classes))
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
    elif settings["train"]["init"] is not None:
        identity["start"] = files.sha256(settings["train"]["init"])

    from twofour import model, parallel, program, training

    names = model.state_names(network)
    if options.start:
        weights.require(initial, names, "the starting weights")
        initial = {name: initial[name] for name in names}
    elif settings["train"]["init"] is not None:
        initial = weights.initial(settings["train"]["init"], names, network)
    if machine.device == "gpu":
        hardware.set_tf32(precision != "fp32")
    if launch.stop_asked():
        raise cli.Interrupted("stopped before the first step")
    group = parallel.connect(program.place(machine.device, machine.gpu))
    run = training.Training(
        settings, machine, precision, network, images, identity, out, group, initial, kept
    )
    summary = run.run()
    if summary is None:
        return
    if kept is not None:
        trained = weights.load(out / "model.pdparams")
        sparsity.require(trained, kept, str(out / "model.pdparams"))
        report = sparsity.report(trained, sparsity.choices(pruning))
        files.write_json(out / "sparsity.json", report)
    if group.size == 1:
        _report(summary)


def _report(summary: dict) -> None:
    processes = f", {summary['processes']} processes" if summary["processes"] > 1 else ""
    cli.log.info(
        "top-1 %.2f %%, top-5 %.2f %% of %d images after %d epochs in %.0f s (%s, %s%s)",
        summary["top1"],
        summary["top5"],
        summary["val_images"],
        summary["epochs"],
        summary["seconds"],
        summary["precision"],
        summary["device_name"],
        processes,
    )


def _without_log(arguments: list[str]) -> list[str]:
    """The command line for the processes; this one alone writes the log."""
    kept = list(arguments)
    for index, argument in enumerate(kept):
        if argument == "--log":
            return kept[:index] + kept[index + 2 :]
        if argument.startswith("--log="):
            return kept[:index] + kept[index + 1 :]
    return kept


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
