"""Shared by tests that build networks and trainings in their own process."""

from __future__ import annotations

from twofour import config
from twofour.network import architecture
from twofour.system.hardware import Machine
from twofour.train.parallel import Group
from twofour.train.plan import Plan

from conftest import TINY, merged


def plan(
    *changes: dict, classes: int = 2, precision: str = "fp32", group: Group | None = None
) -> Plan:
    """A training of the tiny configuration with ``changes``, on one thread of a CPU."""
    settings = config.validated(merged(TINY, *changes))
    return Plan(
        settings.seed,
        settings.data,
        settings.model,
        settings.train,
        architecture.resnet(settings.model, classes),
        Machine("cpu", "some CPU", 1),
        precision,
        group or Group(),
    )


def variables(graph) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the persistable variables of a PaddlePaddle program."""
    return {v.name: tuple(v.shape) for v in graph.list_vars() if v.persistable}
