"""What all backends have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...artifacts import INT8
from ...system.errors import TwoFourError


@dataclass(frozen=True)
class About:
    """What a backend can do.

    ``precisions`` by device: {"cpu": ("fp32",)}; ``summary`` and ``precision_words`` are for the
    pages; ``reads`` names the exported files that it takes, ``reads_int8`` those for int8;
    ``packages`` are the Python packages that must be installed; ``sparse_kernels`` says whether it
    may use kernels that skip the zeros of 2:4 weights, ``for_batches`` whether it is built for
    certain batch sizes. ``note`` is what a reader of its figures must know, or ""; ``timings`` the
    file beside a build in which it keeps how fast kernels are, or "".
    """

    precisions: Mapping[str, tuple[str, ...]]
    summary: str
    reads: tuple[str, ...]
    packages: tuple[str, ...]
    reads_int8: tuple[str, ...] = ()
    precision_note: str = ""
    sparse_kernels: bool = False
    for_batches: bool = False
    note: str = ""
    timings: str = ""

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on CPUs."""
        return "cpu" in self.precisions

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on NVIDIA GPUs."""
        return "gpu" in self.precisions

    @property
    def in_paddle(self) -> bool:
        """Whether PaddlePaddle runs it."""
        return any(package.startswith("paddlepaddle") for package in self.packages)

    def sources(self, precision: str) -> tuple[str, ...]:
        """The exported files that it takes for a precision."""
        return self.reads_int8 if precision == INT8 else self.reads

    @property
    def all_precisions(self) -> list[str]:
        """Its precisions on any device."""
        return list(dict.fromkeys(p for offered in self.precisions.values() for p in offered))

    @property
    def precision_words(self) -> str:
        """Its precisions in words."""
        return ", ".join(self.all_precisions) + self.precision_note


class Predictor(Protocol):
    """From normalised images [N, C, H, W] float32 to class probabilities [N, classes] float32.

    One that knows how long its device computed for the last batch, without copies to and from it,
    says so in an attribute ``device_seconds``. One that can time its layers has a method
    ``layer_ms(images)``, which returns {what it calls a layer: milliseconds}.
    """

    def __call__(self, images: np.ndarray) -> np.ndarray: ...


# What the notes of backends without sparse kernels say.
DENSE_NOTE = "dense kernels: this backend has none that skip the zeros of 2:4 weights"


@contextlib.contextmanager
def running(backend: str, images: np.ndarray) -> Iterator[None]:
    """Whatever its library raises while it computes a batch is a TwoFourError, as out of memory."""
    try:
        yield
    except Exception as error:
        raise TwoFourError(
            f"{backend} could not run a batch of {len(images)} images: {error}"
        ) from error
