"""For which batch sizes an engine is built: TensorRT chooses its kernels for a range of shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..system.errors import TwoFourError


@dataclass(frozen=True)
class Profile:
    """An engine takes ``smallest`` to ``largest`` images and is tuned for ``largest``."""

    smallest: int
    largest: int

    @property
    def name(self) -> str:
        """A name for files: bs8, or bs1-64 for a range."""
        if self.smallest == self.largest:
            return f"bs{self.largest}"
        return f"bs{self.smallest}-{self.largest}"


def named(name: str) -> Profile:
    """The profile of a name."""
    low, _, high = name.removeprefix("bs").partition("-")
    return Profile(int(low), int(high or low))


def make(batch_sizes: Iterable[int], evaluation: int) -> list[Profile]:
    """One engine for each of the benchmark's ``batch_sizes``, and one for evaluation.

    The first are made for exactly one batch size each, as one would deploy them. The last takes any
    number of images up to the batch size of ``evaluation``, since a list's last batch is shorter.
    """
    fixed = [Profile(size, size) for size in sorted(set(batch_sizes))]
    ranged = Profile(1, evaluation)
    return [*(profile for profile in fixed if profile != ranged), ranged]


def choose(profiles: Iterable[Profile], images: int) -> Profile:
    """The narrowest of ``profiles`` that takes a batch of ``images``; TwoFourError if none does."""
    fitting = [p for p in profiles if p.smallest <= images <= p.largest]
    if not fitting:
        raise TwoFourError(
            f"no engine was built for a batch of {images} images, only for "
            f"{', '.join(p.name for p in profiles)}; add it to benchmark.batch_sizes"
        )
    return min(fitting, key=lambda p: p.largest - p.smallest)
