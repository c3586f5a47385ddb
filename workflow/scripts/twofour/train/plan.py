"""What is trained, how, and on what: the facts that all parts of a training share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..data.settings import Data
from ..network.architecture import Architecture
from ..network.settings import Model
from ..quantization import fake
from ..quantization.fake import Rounding
from ..system.hardware import Machine
from ..system.settings import Hardware
from .parallel import Group
from .settings import Dense, Train


class Settings(Protocol):
    """The parts of the configuration that a training reads."""

    @property
    def seed(self) -> int: ...
    @property
    def data(self) -> Data: ...
    @property
    def model(self) -> Model: ...
    @property
    def dense(self) -> Dense: ...
    @property
    def train(self) -> Train: ...
    @property
    def hardware(self) -> Hardware: ...


@dataclass(frozen=True)
class Given:
    """Files from which a training begins; all None for a dense one.

    ``pruned`` is the folder of the pruning stage, ``teacher`` the file with the dense network of a
    distillation, ``more`` that with a network to be trained on. With ``calibration``, that one
    learns to be rounded, and keeps its ``masks``.
    """

    pruned: Path | None = None
    teacher: Path | None = None
    more: Path | None = None
    masks: Path | None = None
    calibration: Path | None = None


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    ``weights`` by name, None for random ones; ``masks`` the 2:4 masks of a sparse training;
    ``identity`` what of this belongs in the fingerprint of a checkpoint; ``known`` how many
    validation images the weights have been trained on, None if there is no record of it;
    ``teacher`` the weights of a dense network to learn from, too; ``limits`` the ranges of the
    activations of a network that is to learn its rounding, by the calibration.
    """

    weights: Mapping[str, np.ndarray] | None = None
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    known: int | None = 0
    teacher: Mapping[str, np.ndarray] | None = None
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A training, as each of its processes sees it.

    ``seed``, ``data``, ``model`` and ``train`` are of the configuration; ``precision`` is what the
    machine computes in (:func:`.precision.choose`); ``class_factors`` [classes] are on the losses
    of the classes; ``rounding`` is what weights and activations are rounded to, if they are.
    """

    seed: int
    data: Data
    model: Model
    train: Train
    network: Architecture
    machine: Machine
    precision: str
    group: Group = field(default_factory=Group)
    class_factors: np.ndarray | None = None
    rounding: Rounding | None = None

    @property
    def ranges(self) -> list[str]:
        """The variables with the ranges of rounded activations."""
        return fake.variables(fake.ranges(self.network), False) if self.rounding else []

    @property
    def layout(self) -> str:
        """Order of the dimensions of images and features: NCHW or NHWC, which suits tensor cores.

        It suits oneDNN, too, which computes in it or turns images into blocks of channels.
        """
        return "NHWC" if self.train.layout == "auto" else self.train.layout

    @property
    def shards(self) -> int:
        """Batches per step, over all processes."""
        return self.group.size * self.train.accumulation

    @property
    def images_per_step(self) -> int:
        """Images per step, over all processes."""
        return self.train.batch_size * self.shards
