"""Images from JPEG files to normalised batches, by NVIDIA DALI.

The same pipelines run on the CPU and on a GPU; only the device of the operators differs. The
reader (:mod:`.readers`) tells each image's position in the file list instead of its label. The
position shows that every image was seen exactly once, and the label is looked up from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from nvidia.dali import fn, pipeline_def, types

from ..system.errors import TwoFourError
from ..system.hardware import Machine
from . import decoder, readers
from .batches import steps_per_epoch
from .culprit import first_line, unreadable
from .lists import Split
from .readers import Source, to_numpy
from .settings import Data

_SHARD_SEEDS = 1_000_003
_GPU_THREADS = 8  # so that what the decoder allocates stays small beside a GPU's memory


@dataclass(frozen=True)
class Pipeline:
    """How the images of a list become batches.

    ``data`` is the config's section, ``channels`` are the network's input channels (3 or 4; a
    fourth is zero). With ``training``, each epoch is a new permutation of all images, cropped and
    flipped at random, and incomplete batches are left out; without, the images come in the order of
    the list, centre-cropped, and the last batch has the images that remain. Everything follows from
    ``seed``, whatever the number of ``threads``.

    In training, ``shards`` loaders with ``shard`` 0, 1, … together see each image at most once an
    epoch; who runs them, and where, makes no difference. ``size`` is the training crop's height
    and width, if not ``data.image_size``. ``layout`` is CHW or HWC, ``half`` asks for float16. On a
    GPU (number ``gpu``) the images stay there if ``stay`` is set, as PaddlePaddle tensors.
    """

    data: Data
    channels: int
    batch_size: int
    training: bool
    threads: int
    device: str = "cpu"
    gpu: int = 0
    seed: int = 0
    shard: int = 0
    shards: int = 1
    size: int | None = None
    layout: str = "CHW"
    half: bool = False
    stay: bool = False


class Loader:
    """Batches of one file list, epoch after epoch, as the ``pipeline`` describes them.

    ``state``, from :meth:`state`, resumes from there. ``orientations`` [n] are EXIF orientations
    (1 to 8), by which the images are turned; none are if it is None.
    """

    def __init__(
        self,
        paths: Sequence[str],
        pipeline: Pipeline,
        state: bytes | None = None,
        orientations: np.ndarray | None = None,
    ) -> None:
        self._paths = paths
        self.images = len(paths)
        self.batch_size = pipeline.batch_size
        on_gpu = pipeline.device == "gpu"
        self._stay = pipeline.stay and on_gpu
        self._gpu = pipeline.gpu
        if pipeline.training:
            self.steps = steps_per_epoch(self.images, self.batch_size, pipeline.shards)
            # DALI pads all shards to the same length.
            batches = math.ceil(math.ceil(self.images / pipeline.shards) / self.batch_size)
        else:
            self.steps = batches = math.ceil(self.images / self.batch_size)
        self._to_skip = batches - self.steps
        if orientations is None:
            orientations = np.ones(self.images, np.uint8)
        # DALI shuffles with a seed of its own; ours acts through the order that it begins with.
        source = readers.of(paths, orientations, pipeline.seed if pipeline.training else None)
        # Operations that differ from image to image need conditions, which DALI must be asked for.
        augmented = pipeline.training and pipeline.data.augment != "none"
        operators = _augmented_operators if augmented else _operators
        self._pipeline = operators(
            source,
            pipeline,
            batch_size=self.batch_size,
            num_threads=min(pipeline.threads, _GPU_THREADS) if on_gpu else pipeline.threads,
            device_id=pipeline.gpu if on_gpu else None,
            # Each shard draws crops of its own; the first draws those of a loader without shards.
            seed=(pipeline.seed + _SHARD_SEEDS * pipeline.shard) % 2**31,
            prefetch_queue_depth=pipeline.data.prefetch,
            enable_checkpointing=True,
            checkpoint=state,
        )
        try:
            self._pipeline.build()
        except RuntimeError as error:
            raise TwoFourError(f"the images cannot be read: {first_line(error)}") from error
        finally:
            source.close()
        self._positions = source.positions

    def epoch(self, start: int = 0) -> Iterator[tuple]:
        """The batches of an epoch from step ``start`` on, at which the loader's state must be.

        Yields images [n, C, H, W] (or [n, H, W, C]) and their positions in the list [n] int64. The
        images lie in DALI's memory, which the next batch overwrites.
        """
        for step in range(start, self.steps):
            count = self.batch_size
            if self._to_skip == 0:  # otherwise all batches used are complete
                count = min(count, self.images - step * self.batch_size)
            yield self._run(count)
        for _ in range(self._to_skip):
            self._run(0)

    def state(self) -> bytes:
        """The loader's state: shuffling, random numbers and position."""
        return self._pipeline.checkpoint()

    def _run(self, count: int) -> tuple:
        try:
            images, told = self._pipeline.run()
        except RuntimeError as error:
            raise TwoFourError(unreadable(self._paths, error)) from error
        positions = self._positions(told, count)
        if self._stay and count == self.batch_size:
            return _on_gpu(images, self._gpu), positions
        return to_numpy(images)[:count], positions


def for_evaluation(
    images: Split, data: Data, channels: int, batch_size: int, machine: Machine
) -> Loader:
    """All ``images`` once, in their order, centre-cropped, as NCHW batches."""
    pipeline = Pipeline(
        data,
        channels,
        batch_size,
        training=False,
        threads=machine.threads,
        device=machine.device,
    )
    return Loader(images.paths, pipeline, orientations=images.orientations)


@pipeline_def(enable_conditionals=True)
def _augmented_operators(source: Source, pipeline: Pipeline):
    return _graph(source, pipeline)


@pipeline_def
def _operators(source: Source, pipeline: Pipeline):
    return _graph(source, pipeline)


def _graph(source: Source, pipeline: Pipeline):
    data, device = pipeline.data, pipeline.device
    encoded, orientation, told = source.read(
        shuffle=pipeline.training,
        buffer=lambda: data.shuffle_buffer,
        pad_last_batch=True,  # every epoch starts afresh, so that it holds each image once
        read_ahead=True,
        shard_id=pipeline.shard,
        num_shards=pipeline.shards,
    )
    decode = decoder.options(data, device)
    if pipeline.training:
        images = fn.decoders.image_random_crop(
            encoded,
            output_type=types.RGB,
            random_area=data.crop_area,
            random_aspect_ratio=data.crop_ratio,
            **decode,
        )
        size = pipeline.size or data.image_size
        images = images.gpu() if device == "gpu" else images
        images = fn.resize(
            images, resize_x=size, resize_y=size, interp_type=types.INTERP_LINEAR, antialias=True
        )
        mirror = fn.random.coin_flip(probability=0.5) if data.flip else 0
        images = _augmented(images, data)
    else:
        size = data.image_size
        images = fn.decoders.image(encoded, output_type=types.RGB, **decode)
        images = images.gpu() if device == "gpu" else images
        images = fn.resize(
            images, resize_shorter=data.resize, interp_type=types.INTERP_LINEAR, antialias=True
        )
        mirror = 0
    if orientation is not None:
        images = _turned(images, orientation, size)
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT16 if pipeline.half else types.FLOAT,
        output_layout=pipeline.layout,
        crop=(size, size),
        mean=[255 * value for value in data.mean],
        std=[255 * value for value in data.std],
        mirror=mirror,
        pad_output=pipeline.channels == 4,
    )
    return images, told


def _augmented(images, data: Data):
    """The crops of a training after ``data.augment``.

    RandAugment: E. Cubuk et al., NeurIPS 2020, section 3; TrivialAugment (wide): S. Müller, F.
    Hutter, ICCV 2021, section 3.
    """
    if data.augment == "randaugment":
        from nvidia.dali.auto_aug.rand_augment import rand_augment

        return rand_augment(images, n=data.augment_operations, m=data.augment_magnitude)
    if data.augment == "trivialaugment":
        from nvidia.dali.auto_aug.trivial_augment import trivial_augment_wide

        return trivial_augment_wide(images)
    return images


def _turned(images, orientation, size: int):
    """The square at the centre of each image, turned by its EXIF ``orientation`` - 1."""
    matrices = _turns(size)
    # Where the centre is between two pixels, an axis that is reversed takes the other one.
    centres = np.where(matrices[:, :, 2] != 0, 0.4999, 0.5).astype(np.float32)
    centre = types.Constant(centres, device="cpu")[orientation]
    images = fn.crop(images, crop=(size, size), crop_pos_x=centre[0], crop_pos_y=centre[1])
    matrix = types.Constant(matrices, device="cpu")[orientation]
    return fn.warp_affine(images, matrix=matrix, inverse_map=True, interp_type=types.INTERP_NN)


def _turns(size: int) -> np.ndarray:
    """Where each pixel of a turned square comes from: [8, 2, 3] matrices by EXIF orientation - 1.

    They map (x, y, 1) of the result to (x, y) of the image as it is stored (EXIF 2.32, 4.6.4,
    Orientation).
    """
    x, y, x_back, y_back = (1, 0, 0), (0, 1, 0), (-1, 0, size), (0, -1, size)
    rows = [(x, y), (x_back, y), (x_back, y_back), (x, y_back)]
    rows += [(y, x), (y, x_back), (y_back, x_back), (y_back, x)]
    return np.array(rows, np.float32)


def _on_gpu(batch, gpu: int):
    """A DALI batch as a PaddlePaddle tensor on the same GPU, copied there in its stream."""
    import paddle
    from nvidia.dali.plugin.paddle import feed_ndarray, to_paddle_type

    batch = batch.as_tensor()
    kind = to_paddle_type(batch)
    place = paddle.CUDAPlace(gpu)
    tensor = paddle.framework.core.LoDTensor()
    tensor._set_dims(batch.shape())
    pointer = tensor._mutable_data(place, kind)
    feed_ndarray(batch, pointer, paddle.device.cuda.current_stream(gpu).cuda_stream)
    return tensor
