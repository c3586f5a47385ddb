"""One process's part of a training: what it starts from, and on what it computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import lists
from ..network import architecture, graph
from ..system import cli, codehash, libraries
from ..system.hardware import Machine
from . import ROOT, balance, begin, launch, loop, parallel, precision, seen
from .plan import Plan, Settings


def train(
    settings: Settings,
    machine: Machine,
    data: Path,
    pruned: Path | None,
    out: Path,
    teacher: Path | None = None,
    more: Path | None = None,
) -> dict[str, Any] | None:
    """Train on the dataset in folder ``data`` into ``out``, from the network in ``pruned``.

    ``pruned`` is the folder of the pruning stage, None for a dense training; ``teacher`` the file
    with the dense network of a distillation, ``more`` that with one to be trained on. Returns what
    train.json holds in the first process, and None in the others.
    """
    dataset = lists.read(data)
    labels = dataset.train.labels
    factors = balance.factors(settings.train.class_weights, labels, dataset.classes)
    if settings.train.sampling == "balanced":
        dataset = replace(dataset, train=balance.balanced(dataset.train, settings.seed))
    network = architecture.resnet(settings.model, len(dataset.classes))
    if pruned is not None:
        start = begin.from_pruned(pruned, network, teacher)
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
    plan = Plan(*sections, network, machine, chosen, group, factors)
    if group.rank == 0:
        seen.tell(known, len(images["val"]), began)
    summary = loop.train(plan, dataset, start, out)
    if summary is None:
        return None
    seen.write(out, images["train"], before)
    if pruned is not None:
        begin.report_sparsity(pruned, start.masks, out)
    return summary
