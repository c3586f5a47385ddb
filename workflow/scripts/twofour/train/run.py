"""A training in its processes: this one alone, several on this node, or several nodes of SLURM."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from ..artifacts import CHECKPOINTS, TRAINING
from ..data import lists
from ..data.batches import steps_per_epoch
from ..network import architecture
from ..system import cli, files, libraries, lock, slurm
from ..system.hardware import Machine
from . import footprint, launch, precision, qat
from .plan import Given, Settings


def run(settings: Settings, options: Namespace, program: Path) -> int | None:
    """Train as the command line ``options`` of ``program`` say; if started again, resume.

    ``options`` has data and out, the folders of the dataset and of the results, and what
    :class:`.plan.Given` names. Returns an exit status for a part of a training on another node.
    """
    machine = libraries.start(settings.hardware, training=True)
    if options.calibration:
        settings = qat.recipe(settings, machine)
    chosen = precision.choose(settings.train.precision, machine)  # an error is reported once
    out = Path(options.out)
    if launch.launched():
        _train(settings, options, machine)
        return None
    network = architecture.resnet(settings.model, len(lists.classes(options.data)))
    free, taught = footprint.free(machine), bool(options.teacher)
    footprint.require(settings, network, machine, chosen, free, taught)
    if slurm.on_a_node():
        return launch.run_on_node(program, _without_log(sys.argv[1:]), machine, out)
    try:
        with lock.exclusive(out / CHECKPOINTS):
            if machine.all_processes == 1:
                _train(settings, options, machine)
            else:
                _launch(settings, options, machine, program)
    except cli.Interrupted as stop:
        if stop.again:
            slurm.start_again()
        raise
    return None


def _launch(settings: Settings, options: Namespace, machine: Machine, program: Path) -> None:
    count = len(lists.read(options.data).train.paths)
    shards = machine.all_processes * settings.train.accumulation
    steps_per_epoch(count, settings.train.batch_size, shards)  # an error is reported once
    out = Path(options.out)
    launch.run(program, _without_log(sys.argv[1:]), machine, out)
    _report(files.read_json(out / TRAINING))


def _train(settings: Settings, options: Namespace, machine: Machine) -> None:
    """The training, or one process's part of it."""
    from . import process  # which loads DALI, so not before PaddlePaddle

    names = (options.start, options.teacher, options.more, options.masks, options.calibration)
    given = Given(*(Path(name) if name else None for name in names))
    summary = process.train(settings, machine, Path(options.data), Path(options.out), given)
    if summary is not None and summary["processes"] == 1:
        _report(summary)


def _report(summary: dict[str, Any]) -> None:
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
