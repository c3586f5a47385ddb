"""Images from JPEG files to normalised batches, by NVIDIA DALI.

The same pipelines run on the CPU and on a GPU; only the device of the operators differs. The
reader gives each image's position in the file list instead of its label. The position shows that
every image was seen exactly once, and the label is looked up from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from nvidia.dali import fn, pipeline_def, types

from .errors import TwoFourError
from .images import inspect

READER = "reader"
INSPECTED = 100_000  # files that are looked at to find the one that could not be read


class Loader:
    """Batches of one file list, epoch after epoch.

    ``data`` is the config's section, ``channels`` the network's input channels (3 or 4; a fourth is
    zero). With ``training``, each epoch is a new permutation of all images, cropped and flipped at
    random, and an incomplete last batch is left out; without, the images come in the order of the
    list, centre-cropped, and the last batch has the images that remain. Everything follows from
    ``seed``, whatever the number of threads. ``state`` resumes where :meth:`state` was taken.
    """

    def __init__(
        self,
        paths: Sequence[str],
        batch_size: int,
        data: dict,
        channels: int,
        *,
        training: bool,
        threads: int,
        device: str = "cpu",
        seed: int = 0,
        state: bytes | None = None,
    ) -> None:
        self._paths = paths
        self.images = len(paths)
        self.batch_size = batch_size
        self.steps = self.images // batch_size if training else -(-self.images // batch_size)
        if self.steps == 0:
            raise TwoFourError(
                f"train.batch_size is {batch_size}, but there are only {self.images} training "
                "images; lower it"
            )
        self._incomplete_to_skip = training and self.images % batch_size != 0
        order = np.arange(self.images)
        if training:
            # DALI shuffles with a seed of its own; starting from our permutation makes it ours.
            order = np.random.default_rng(seed).permutation(self.images)
        self._pipeline = _pipeline(
            [paths[i] for i in order],
            order.tolist(),
            data,
            channels,
            training,
            device,
            batch_size=batch_size,
            num_threads=threads,
            device_id=0 if device == "gpu" else None,
            seed=seed,
            enable_checkpointing=True,
            checkpoint=state,
        )
        try:
            self._pipeline.build()
        except RuntimeError as error:
            raise TwoFourError(f"the images cannot be read: {_first_line(error)}") from error

    def epoch(self, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of an epoch from step ``start`` on, where the loader's state must stand.

        Yields images [n, C, H, W] float32 and their positions in the file list [n] int64.
        """
        for step in range(start, self.steps):
            count = min(self.batch_size, self.images - step * self.batch_size)
            images, positions = self._run()
            yield images[:count], positions[:count]
        if self._incomplete_to_skip:
            self._run()

    def state(self) -> bytes:
        """Where the loader stands: shuffling, random numbers and position."""
        return self._pipeline.checkpoint()

    def _run(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            images, positions = self._pipeline.run()
        except RuntimeError as error:
            raise TwoFourError(f"an image cannot be read: {self._culprit(error)}") from error
        # DALI uses its buffers again for the next batch, hence copies.
        return _to_numpy(images), _to_numpy(positions).astype(np.int64).ravel()

    def _culprit(self, error: Exception) -> str:
        """The file that DALI stopped at, which it does not always name."""
        for path in self._paths[:INSPECTED]:
            reason = inspect(path).reason
            if reason:
                return (
                    f"{path} ({reason}); it has changed since the dataset stage, so run the "
                    "workflow again, which checks all images anew"
                )
        return _first_line(error)


@pipeline_def
def _pipeline(
    paths: list[str], positions: list[int], data: dict, channels: int, training: bool, device: str
):
    encoded, position = fn.readers.file(
        name=READER,
        files=paths,
        labels=positions,
        shuffle_after_epoch=training,
        pad_last_batch=True,  # every epoch starts afresh, so that it holds each image once
        read_ahead=True,
    )
    decoder = "mixed" if device == "gpu" else "cpu"
    size = data["image_size"]
    if training:
        images = fn.decoders.image_random_crop(
            encoded,
            device=decoder,
            output_type=types.RGB,
            random_area=data["crop_area"],
            random_aspect_ratio=data["crop_ratio"],
        )
        images = fn.resize(
            images, resize_x=size, resize_y=size, interp_type=types.INTERP_LINEAR, antialias=True
        )
        mirror = fn.random.coin_flip(probability=0.5) if data["flip"] else 0
    else:
        images = fn.decoders.image(encoded, device=decoder, output_type=types.RGB)
        images = fn.resize(
            images, resize_shorter=data["resize"], interp_type=types.INTERP_LINEAR, antialias=True
        )
        mirror = 0
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        crop=(size, size),
        mean=[255 * value for value in data["mean"]],
        std=[255 * value for value in data["std"]],
        mirror=mirror,
        pad_output=channels == 4,
    )
    return images, position


def _to_numpy(batch) -> np.ndarray:
    if hasattr(batch, "as_cpu"):
        batch = batch.as_cpu()
    return np.array(batch.as_array())


def _first_line(error: Exception) -> str:
    """The telling line of DALI's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("Error in", "Failed", "["))] or lines
    return telling[0] if telling else type(error).__name__
