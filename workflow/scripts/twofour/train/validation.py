"""Accuracy and loss over all validation images, each counted once, by all processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..data.lists import Dataset
from ..data.loader import Loader
from ..network.inference import Inference
from ..system import libraries
from .feeder import pipeline
from .metrics import Tally
from .plan import Plan


class Validation:
    """Each process validates a part of the images, with its own copy of the weights, in fp32."""

    def __init__(self, plan: Plan, dataset: Dataset) -> None:
        paths, self._labels, orientations = dataset.val
        self._plan = plan
        parts = np.array_split(np.arange(len(paths)), plan.group.size)
        self._positions = parts[plan.group.rank]
        mine = [paths[i] for i in self._positions]
        turns = orientations[self._positions]
        images = pipeline(plan, training=False)
        self._loader = Loader(mine, images, orientations=turns) if mine else None
        machine = plan.machine
        rounding = replace(plan.rounding, training=False) if plan.rounding else None
        self._infer = Inference(
            plan.network,
            plan.data.image_size,
            machine.device,
            plan.layout,
            machine.gpu,
            rounding,
            plan.ranges,
        )

    def run(self, weights: Mapping[str, np.ndarray]) -> dict:
        """top1 and top5 in percent, images, and loss (nats) of the network with ``weights``."""
        self._infer.load(weights)
        tally = Tally(self._labels)
        if self._loader:
            with libraries.without_tf32(self._plan.machine):
                for images, positions in self._loader.epoch():
                    tally.add(self._infer(images), self._positions[positions])
        tally.reduce(self._plan.group.sum)
        return tally.result()
