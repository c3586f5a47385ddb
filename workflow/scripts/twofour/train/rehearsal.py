"""A few steps of a training on random images, to learn how long the whole will take."""

from __future__ import annotations

import time

import numpy as np

from .. import models
from ..network import architecture, graph
from ..system.hardware import Machine
from . import recipe, training_graph
from .plan import Plan, Settings
from .updater import Updater

STEPS, BATCH = 3, 8


def seconds_per_image(settings: Settings, machine: Machine, precision: str, classes: int) -> float:
    """Seconds that this training's steps take for an image, measured in ``STEPS`` small batches.

    Without reading images, which a loader does meanwhile. Call it after
    :func:`twofour.system.libraries.start`.
    """
    network = architecture.resnet(settings.model, classes)
    (seed, *_) = models.seeds(settings.seed)
    sections = (seed, settings.data, settings.model, settings.train)
    plan = Plan(*sections, network, machine, precision)
    built = training_graph.build(plan, lambda update: 1e-9)
    update = Updater(plan, built, graph.place(machine.device, machine.gpu))
    size, images = recipe.train_size(0, settings.data), min(BATCH, settings.train.batch_size)
    shape = graph.input_shape(network, size, plan.layout)[1:]
    kind = np.float16 if precision == "pure_fp16" else np.float32
    batch = np.random.default_rng(0).standard_normal((images, *shape)).astype(kind)
    batches = [(batch, np.arange(images))] * settings.train.accumulation
    labels = np.zeros(images, np.int64)
    times = []
    for number in range(STEPS + 1):  # the first sets up much
        clock = time.perf_counter()
        update(number, tuple(batches), labels, True)
        times.append(time.perf_counter() - clock)
    return float(np.median(times[1:])) / images / settings.train.accumulation
