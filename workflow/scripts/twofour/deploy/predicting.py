"""Class probabilities of images that a user names, by any build of a finished model."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..data.lists import Split
from ..system import hardware, libraries, progress
from ..system.errors import TwoFourError
from ..system.settings import Hardware
from . import backends, build, finished
from .finished import Finished

BATCH = 32  # images, if the build does not want fewer
LARGEST = 1024  # what numbers on the command line may be


def add_arguments(parser: ArgumentParser) -> None:
    """The options of the commands that use a finished model."""
    parser.add_argument(
        "model", metavar="MODEL", help="folder of a model, such as results/demo/deploy/sparse"
    )
    parser.add_argument("--backend", choices=backends.NAMES, help="default: the first that runs")
    parser.add_argument("--precision", choices=backends.PRECISIONS, help="of the build to use")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="of the computation (default: all cores)"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", default=BATCH, help="images at a time"
    )


def positive(text: str) -> int:
    """A number from 1 to LARGEST; TwoFourError for another text."""
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST:
        raise TwoFourError(f"{text} is not a whole number from 1 to {LARGEST}")
    return int(text)


class Prediction:
    """The model that the command line ``options`` name, loaded; ``case`` says in which build."""

    def __init__(self, options: Namespace) -> None:
        self._wanted = Hardware(device=options.device, threads=options.threads or "auto")
        self.model: Finished = finished.find(Path(options.model))
        self.case = finished.choose(self.model, options.backend, options.precision, self._wanted)
        self._batch_size = options.batch_size

    @property
    def workers(self) -> int:
        """Processes for checking images."""
        return hardware.cores()

    def batches(self, images: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Class probabilities [n, classes] of all ``images`` and their positions [n], in batches.

        They are decoded and prepared as in the evaluation of a run.
        """
        backend, _ = self.case
        machine = libraries.prepare(self._wanted)
        target = backends.target(backend, self._wanted)
        predict, record = build.load(self.model.folder, self.model.builds[self.case], target)
        largest = max((pair[1] for pair in record["batches"]), default=self._batch_size)
        from ..data import loader  # after the backend, which may load PaddlePaddle

        batches = loader.for_evaluation(
            images,
            self.model.data(),
            self.model.channels,
            min(self._batch_size, largest, len(images.paths)),
            machine,
        )
        with progress.bar(len(images.paths), "predicting", "img") as bar:
            for pictures, positions in batches.epoch():
                yield predict(pictures), positions
                bar.update(len(positions))
