"""How many batches a list of images makes."""

from __future__ import annotations

from ..system.errors import TwoFourError


def steps_per_epoch(images: int, batch_size: int, shards: int = 1) -> int:
    """Full steps of ``shards`` batches in ``images``; TwoFourError if there is not even one."""
    steps = images // shards // batch_size
    if steps == 0:
        raise TwoFourError(
            f"train.batch_size is {batch_size}"
            + (
                f", and a step takes {shards} batches (hardware.gpus or hardware.cpu_processes "
                "times hardware.nodes times train.accumulation)"
                if shards > 1
                else ""
            )
            + f", but there are only {images} training images; lower "
            + ("one of these" if shards > 1 else "it")
        )
    return steps
