"""How much memory a training needs, calculated before it begins.

The activations dominate: every output of a convolution, of its batch norm and of its ReLU, and the
gradient of each (the sum of the training program's variables, see training_graph.tensor_bytes,
which tests compare with this). What is measured beyond them is in the constants.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ..network.architecture import Architecture
from ..system import hardware, memory
from ..system.errors import TwoFourError
from ..system.hardware import Machine
from . import precision, recipe

if TYPE_CHECKING:
    from .plan import Settings

FLOAT = 4  # bytes
# On a CPU, measured with the peak of whole trainings (benchmarks/README.md): libraries and loader;
# copies of the weights (gradients, momentum, validation, a checkpoint that is being written, what
# oneDNN reorders); what the C library keeps between the blocks in use.
_LIBRARIES = 0.53e9
_COPIES = 10
_KEPT = 1.04
_TEACHING = 0.27  # what a second network, without gradients, adds to the activations
_ACCUMULATING = 2  # the batches before the last have a program, and activations, of their own
# On a GPU PaddlePaddle frees tensors as soon as it can, so that this is the least: what the
# backward pass reads (a test compares it with the program), weights, gradients and momentum, and
# the libraries' own memory.
_GPU_LIBRARIES = 1e9
_GPU_COPIES = 3
_READ_BACKWARD = 1 / 3  # share of the activations and gradients


def activation_bytes(network: Architecture, size: int) -> int:
    """Activations and gradients of one image of ``size`` × ``size`` pixels in fp32."""
    side = _half(size)
    stem = network.stem.outputs
    elements = network.input_channels * size**2 + 6 * stem * side**2
    side = _half(side)
    elements += 2 * stem * side**2  # the pooling
    inputs = stem
    for block in network.blocks:
        elements += 2 * inputs * side**2  # the block's input is read twice, so has two gradients
        for conv in block.convs:
            side = -(-side // conv.stride)
            elements += (4 if conv is block.convs[-1] else 6) * conv.outputs * side**2
        inputs = block.convs[-1].outputs
        elements += (8 if block.shortcut else 4) * inputs * side**2  # and the sum, and its ReLU
    return FLOAT * elements


def _half(size: int) -> int:
    return -(-size // 2)


def training_bytes(
    network: Architecture,
    size: int,
    batch_size: int,
    accumulates: bool = False,
    device: str = "cpu",
    half: bool = False,
    taught: bool = False,
) -> float:
    """Memory of one process of a training: an estimate on a CPU, the least on a GPU.

    ``size`` is the largest crop in pixels; a step takes several batches if it ``accumulates``;
    ``half`` says that activations have 16 bits; ``taught`` that there is a second network to learn
    from.
    """
    weights = FLOAT * network.parameters
    more = 1 if taught else 0
    activations = batch_size * activation_bytes(network, size)
    if device == "gpu":
        share = _READ_BACKWARD * (0.5 if half else 1)
        return _GPU_LIBRARIES + (_GPU_COPIES + more) * weights + share * activations
    programs = _ACCUMULATING if accumulates else 1
    kept = _KEPT + more * _TEACHING
    return _LIBRARIES + (_COPIES + more) * weights + programs * kept * activations


def require(
    settings: Settings,
    network: Architecture,
    machine: Machine,
    chosen: str,
    free: float | None,
    taught: bool = False,
) -> float:
    """Bytes that a training in the precision ``chosen`` needs on ``machine``, of ``free`` ones.

    On a CPU its processes share what is free; on GPUs each has one of its own. ``free`` is None if
    it is not known; ``taught`` as above. Raises TwoFourError if the training needs more, with the
    largest batch that fits and the accumulation to go with it.
    """
    train, on_gpu = settings.train, machine.device == "gpu"
    processes = 1 if on_gpu else machine.processes
    size = max(recipe.train_size(epoch, settings.data) for epoch in range(train.epochs))

    def needed(batch: int, accumulates: bool) -> float:
        half = precision.is_half(chosen)
        each = training_bytes(network, size, batch, accumulates, machine.device, half, taught)
        return processes * each

    def largest(accumulates: bool, room: float) -> int:
        per_image = needed(2, accumulates) - needed(1, accumulates)
        return math.floor((room - needed(0, accumulates)) / per_image)

    wanted = needed(train.batch_size, train.accumulation > 1)
    if free is None or wanted <= free:
        return wanted
    told = (
        f"train.batch_size is {train.batch_size}: the training would need "
        f"{'at least' if on_gpu else 'about'} {wanted / 1e9:.1f} GB of memory"
        f"{' on each GPU' if on_gpu else ''}, and {free / 1e9:.1f} GB are free"
    )
    several = largest(True, free)  # in a step
    if several < 1:
        raise TwoFourError(
            f"{told}; even a few images at a time do not fit: take a smaller network (model.name, "
            "model.width) or smaller images (data.image_size)"
        )
    batch, batches = _split(train.batch_size * train.accumulation, several)
    raise TwoFourError(
        f"{told}; the largest batch that fits is {largest(False, free)}; for {batch * batches} "
        f"images in a step set train.batch_size to {batch} and train.accumulation to {batches}"
    )


def free(machine: Machine) -> float | None:
    """Bytes that a training could use: all of a GPU, or what is free in the machine's memory."""
    if machine.device == "cpu":
        return memory.free()
    return gpu_bytes(hardware.gpus()[machine.gpu])


def gpu_bytes(gpu: dict[str, str]) -> float | None:
    """The memory of one of :func:`twofour.system.hardware.gpus`."""
    found = re.match(r"(\d+) MiB", gpu.get("memory.total", ""))
    return None if found is None else float(int(found[1]) << 20)


def _split(images: int, largest: int) -> tuple[int, int]:
    """A batch of at most ``largest`` and how many of them make about as many ``images``."""
    fewest = -(-images // largest)
    for batches in range(fewest, 2 * fewest + 1):
        if images % batches == 0:
            return images // batches, batches
    return images // fewest, fewest
