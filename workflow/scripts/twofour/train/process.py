"""One process's part of a training: what it starts from, and on what it computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import lists
from ..network import architecture, graph
from ..system import cli, codehash, libraries
from ..system.hardware import Machine
from . import ROOT, balance, begin, launch, loop, parallel, precision, qat, seen
from .plan import Given, Plan, Settings


def train(
    settings: Settings,
    machine: Machine,
    data: Path,
    out: Path,
    given: Given,
) -> dict[str, Any] | None:
    """Train on the dataset in folder ``data`` into ``out``, from what is ``given``.

    Returns what train.json holds in the first process, and None in the others.
    """
    dataset = lists.read(data)
    labels = dataset.train.labels
    factors = balance.factors(settings.train.class_weights, labels, dataset.classes)
    if settings.train.sampling == "balanced":
        dataset = replace(dataset, train=balance.balanced(dataset.train, settings.seed))
    network = architecture.resnet(settings.model, len(dataset.classes))
    pruned, more, rounding = given.pruned, given.more, None
    if given.calibration is not None and more is not None:
        start = qat.begin(more, given.masks, given.calibration, network, settings)
        rounding = qat.rounding(settings)
    elif pruned is not None:
        start = begin.from_pruned(pruned, network, given.teacher)
    else:
        start = begin.from_weights(str(more) if more else settings.train.init, network)
    identity = {"code": codehash.digest(ROOT), "dataset": dataset.content, **start.identity}
    began = settings.dense.weights or settings.train.init
    images, before = lists.digests(data), seen.by(began)
    known = seen.count(images["val"], before)
    start = replace(start, identity=identity, known=known)
    chosen = precision.choose(settings.train.precision, machine)
    if machine.device == "gpu":
        libraries.set_tf32(chosen != "fp32")
    if launch.stop_asked():
        raise cli.Interrupted("stopped before the first step")
    group = parallel.connect(graph.place(machine.device, machine.gpu))
    sections = (settings.seed, settings.data, settings.model, settings.train)
    plan = Plan(*sections, network, machine, chosen, group, factors, rounding)
    if group.rank == 0:
        seen.tell(known, len(images["val"]), began)
    summary = loop.train(plan, dataset, start, out)
    if summary is None:
        return None
    seen.write(out, images["train"], before)
    if pruned is not None:
        begin.report_sparsity(pruned, start.masks, out)
    return summary
