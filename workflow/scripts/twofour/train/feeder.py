"""The training images of a process: a loader for each batch that it contributes to a step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ..data.lists import Split
from ..data.loader import Loader, Pipeline
from . import recipe
from .plan import Plan


class Feeder:
    """The loaders of one process, for ``images``, in ``epoch`` (from 0).

    ``states`` are those of all shards to resume from, in the order of the shards.
    """

    def __init__(self, plan: Plan, images: Split, epoch: int, states: list[bytes] | None):
        self._plan, self._images = plan, images
        self.size = recipe.train_size(epoch, plan.data)
        self._loaders = self._made(states)
        self.steps = self._loaders[0].steps  # in an epoch

    def _made(self, states: list[bytes] | None) -> list[Loader]:
        plan = self._plan
        first = plan.group.rank * plan.train.accumulation
        options = {"seed": plan.seed, "shards": plan.shards, "size": self.size}
        options["half"] = plan.precision == "pure_fp16"
        return [
            Loader(
                self._images.paths,
                pipeline(plan, training=True, shard=shard, **options),
                states[shard] if states else None,
                self._images.orientations,
            )
            for shard in range(first, first + plan.train.accumulation)
        ]

    def epoch(self, step: int) -> Iterator[tuple]:
        """What each step of an epoch takes, from ``step`` on: a batch from each loader."""
        return zip(*(loader.epoch(step) for loader in self._loaders))

    def states(self) -> list[bytes]:
        """The states of the loaders of all processes, in the order of the shards."""
        mine = [loader.state() for loader in self._loaders]
        return list(chain.from_iterable(self._plan.group.gather_bytes(mine)))

    def resize(self, epoch: int) -> bool:
        """Switch to the crop size of ``epoch``, keeping the loaders' states; whether it changed."""
        size = recipe.train_size(epoch, self._plan.data)
        if size == self.size:
            return False
        self.size = size
        self._loaders = self._made(self.states())
        return True


def pipeline(plan: Plan, training: bool, **options) -> Pipeline:
    """How images become the batches that a graph of the training takes."""
    return Pipeline(
        plan.data,
        plan.network.input_channels,
        plan.train.batch_size,
        training=training,
        threads=plan.machine.threads,
        device=plan.machine.device,
        gpu=plan.machine.gpu,
        layout=plan.layout[1:],
        stay=True,
        **options,
    )
