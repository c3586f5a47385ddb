"""One update of the weights: the training graph, run on the batches of a step."""

from __future__ import annotations

import numpy as np
import paddle

from ..network.architecture import IMAGES
from ..system import libraries
from . import mixing, recipe, training_graph
from .plan import Plan
from .training_graph import TrainingGraph

KEEP_TENSORS_BYTES = 512e6  # up to here nothing is freed in the middle of a step on a CPU


class Updater:
    """Runs ``graph`` for the training that ``plan`` describes, on ``place``."""

    def __init__(self, plan: Plan, graph: TrainingGraph, place) -> None:
        self._plan, self._graph = plan, graph
        device = plan.machine.device
        if device == "cpu":
            size = training_graph.tensor_bytes(graph.main, plan.train.batch_size)
            if size <= KEEP_TENSORS_BYTES:
                libraries.keep_tensors()
        self._last = training_graph.runnable(graph.main, device)
        self._partial = graph.partial and training_graph.runnable(graph.partial, device)
        self._executor = paddle.static.Executor(place)
        graph.start(self._executor, place)

    def __call__(self, update: int, batches: tuple, labels: np.ndarray, show: bool) -> float | None:
        """Update number ``update`` (from 0), which takes ``batches`` of images and positions.

        ``labels`` are those of the whole list. Returns the loss of the last batch if asked to
        ``show`` it, which means waiting for the step.
        """
        self._graph.scheduler.step(update)
        fetched: list = []
        for number, (images, positions) in enumerate(batches, start=1):
            feed = {IMAGES: images, training_graph.LABELS: labels[positions]}
            last = number == len(batches)
            if last and self._graph.averages:
                decay = recipe.ema_decay(update, self._plan.train.ema)
                feed[training_graph.EMA_DECAY] = np.asarray([decay], dtype=np.float32)
            if mixing.mixes(self._plan.train):
                feed[training_graph.MIX] = self._mix(images, update, number)
            wanted = [self._graph.loss] if show and last else []
            with self._plan.group.watched():
                fetched = self._executor.run(
                    self._last if last else self._partial, feed=feed, fetch_list=wanted
                )
        return float(np.ravel(fetched[0])[0]) if fetched else None

    def _mix(self, images, update: int, number: int) -> np.ndarray:
        """The mask [H, W] for batch ``number`` (from 1) of this process in ``update``."""
        plan = self._plan
        shape = images.shape() if callable(images.shape) else images.shape  # of a tensor on a GPU
        size = shape[2]  # the width in NCHW, the height in NHWC
        shard = plan.group.rank * plan.train.accumulation + number - 1
        return mixing.mask(plan.train, size, plan.seed, update, shard)
