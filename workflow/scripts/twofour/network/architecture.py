"""The ResNet family as data: which layers there are, their names, shapes and strides.

Pure Python, so that configuration checks, sparsity planning and tests need no deep-learning
framework. :mod:`.graph` builds the PaddlePaddle graph from it.

References: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
Version 1.5 puts the stride of a bottleneck into its 3×3 convolution instead of the first 1×1.
Wide ResNets have twice the channels inside their bottlenecks: S. Zagoruyko, N. Komodakis, "Wide
Residual Networks", BMVC 2016, in torchvision's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..system.errors import TwoFourError
from .settings import Model


class Family(NamedTuple):
    """``blocks`` in each stage, whether they are bottlenecks, and how much wider these are."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    wider: int = 1


RESNETS = {
    "resnet18": Family((2, 2, 2, 2), False),
    "resnet34": Family((3, 4, 6, 3), False),
    "resnet50": Family((3, 4, 6, 3), True),
    "resnet101": Family((3, 4, 23, 3), True),
    "resnet152": Family((3, 8, 36, 3), True),
    "wide_resnet50_2": Family((3, 4, 6, 3), True, 2),
    "wide_resnet101_2": Family((3, 4, 23, 3), True, 2),
}
STAGE_CHANNELS = (64, 128, 256, 512)
EXPANSION = 4  # output channels of a bottleneck over the channels of its 3×3 convolution

IMAGES, PROBABILITIES = "images", "probabilities"  # names of the network's input and output
STEM = "stem.conv.weight"
CLASSIFIER, CLASSIFIER_BIAS = "classifier.weight", "classifier.bias"
NORM_PARTS = ("weight", "bias", "mean", "variance")  # of a batch norm; the last two are statistics
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, followed by batch norm; padding keeps the size at stride 1."""

    name: str  # "layer1.0.conv2"; its batch norm is "layer1.0.bn2"
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1

    @property
    def weight(self) -> str:
        return f"{self.name}.weight"

    @property
    def norm(self) -> str:
        head, _, tail = self.name.rpartition("conv")
        return f"{head}bn{tail}"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """OIHW."""
        return (self.outputs, self.inputs, self.kernel, self.kernel)


@dataclass(frozen=True)
class Block:
    """A residual block: ``convs`` in a row, plus the identity or the ``shortcut`` convolution."""

    convs: tuple[Conv, ...]
    shortcut: Conv | None


@dataclass(frozen=True)
class Stream:
    """A tensor between layers: the convolutions that add into it, and the weights that read it.

    Its channels can be put into another order without changing the network's function, if the
    outputs of all producers (with their batch norms) and the inputs of all consumers follow.
    """

    producers: tuple[Conv, ...]
    consumers: tuple[str, ...]


@dataclass(frozen=True)
class Architecture:
    """A whole network. ``weights`` lists what 2:4 sparsity could apply to."""

    name: str
    input_channels: int
    classes: int
    stem: Conv
    blocks: tuple[Block, ...]
    features: int

    @property
    def convs(self) -> list[Conv]:
        result = [self.stem]
        for block in self.blocks:
            result += [*block.convs, *([block.shortcut] if block.shortcut else [])]
        return result

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of each convolution (OIHW) and linear weight ([in, out])."""
        shapes: dict[str, tuple[int, ...]] = {conv.weight: conv.shape for conv in self.convs}
        shapes[CLASSIFIER] = (self.features, self.classes)
        return shapes

    @property
    def state(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of everything that makes up a trained network: weights and statistics."""
        shapes: dict[str, tuple[int, ...]] = {}
        for conv in self.convs:
            shapes[conv.weight] = conv.shape
            shapes.update({f"{conv.norm}.{part}": (conv.outputs,) for part in NORM_PARTS})
        return {
            **shapes,
            CLASSIFIER: (self.features, self.classes),
            CLASSIFIER_BIAS: (self.classes,),
        }

    @property
    def statistics(self) -> list[str]:
        """Names of the running statistics, of which each process of a training has its own."""
        return [f"{conv.norm}.{part}" for conv in self.convs for part in NORM_PARTS[2:]]

    @property
    def streams(self) -> list[Stream]:
        """All tensors whose channels can be reordered: all but the images and the logits."""
        result = []
        producers, consumers = [self.stem], []
        for block in self.blocks:
            consumers.append(block.convs[0].weight)
            inside = zip(block.convs, block.convs[1:])
            result += [Stream((first,), (second.weight,)) for first, second in inside]
            if block.shortcut:
                consumers.append(block.shortcut.weight)
                result.append(Stream(tuple(producers), tuple(consumers)))
                producers, consumers = [block.shortcut], []
            producers.append(block.convs[-1])
        return [*result, Stream(tuple(producers), (*consumers, CLASSIFIER))]

    @property
    def parameters(self) -> int:
        """Number of trainable parameters (batch-norm statistics are not)."""
        convolutions = sum(c.outputs * (c.inputs * c.kernel**2 + 2) for c in self.convs)
        return convolutions + (self.features + 1) * self.classes


def input_of(layer: str) -> str:
    """The name of what a layer reads, where it is rounded."""
    return f"{layer}.input"


def output_of(layer: str) -> str:
    """The name of what a shortcut makes, where that is rounded."""
    return f"{layer}.output"


def resnet(model: Model, classes: int) -> Architecture:
    """The network that the config's section ``model`` describes.

    ``classes`` is the number of outputs. Raises TwoFourError for a network that cannot be built.
    """
    family = RESNETS[model.name]
    counts = tuple(model.blocks or family.blocks)
    channels = [_scaled(c, model.width) for c in STAGE_CHANNELS]
    if classes < 2:
        raise TwoFourError(f"a classifier needs at least 2 classes, not {classes}")

    stem = Conv("stem.conv", model.input_channels, channels[0], kernel=7, stride=2)
    blocks: list[Block] = []
    inputs = stem.outputs
    for stage, (width, count) in enumerate(zip(channels, counts), start=1):
        outputs = width * EXPANSION if family.bottleneck else width
        inner = width * family.wider
        for index in range(count):
            prefix = f"layer{stage}.{index}"
            stride = 2 if index == 0 and stage > 1 else 1
            convs: tuple[Conv, ...]
            if family.bottleneck:
                convs = (
                    Conv(f"{prefix}.conv1", inputs, inner, kernel=1),
                    Conv(f"{prefix}.conv2", inner, inner, kernel=3, stride=stride),
                    Conv(f"{prefix}.conv3", inner, outputs, kernel=1),
                )
            else:
                convs = (
                    Conv(f"{prefix}.conv1", inputs, width, kernel=3, stride=stride),
                    Conv(f"{prefix}.conv2", width, width, kernel=3),
                )
            changes = stride != 1 or inputs != outputs
            shortcut = Conv(f"{prefix}.shortcut.conv", inputs, outputs, 1, stride)
            blocks.append(Block(convs, shortcut if changes else None))
            inputs = outputs
    return Architecture(model.name, model.input_channels, classes, stem, tuple(blocks), inputs)


def _scaled(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8 (at least 8), so that 2:4 groups fit."""
    return max(8, round(channels * width / 8) * 8)
