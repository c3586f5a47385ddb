"""The sections ``dense`` and ``train`` of the configuration.

The defaults of ``train`` are the published ResNet50 recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..system.sections import Section, key


@dataclass(frozen=True, repr=False)
class Dense(Section):
    """Where the dense network comes from."""

    weights: str | None = key(
        None,
        "file with a finished network, of any kind that train.init takes, which is evaluated, "
        "pruned and retrained as it is; null to train one",
        decides=False,
    )
    control: bool = key(
        False,
        "also train the dense network on, for as many epochs as the sparse one is retrained, and "
        "compare with that; without, the sparse network has trained twice as long (it takes one "
        "more training)",
        decides=False,
    )


@dataclass(frozen=True, repr=False)
class Train(Section):
    """How networks are trained, the dense one and the sparse one alike."""

    epochs: int = key(
        90,
        "passes over the training images, for the dense training and again for the sparse one",
        minimum=1,
        maximum=10000,
    )
    batch_size: int = key(
        256,
        "images in a batch of each process (a step of the training takes hardware.gpus · "
        "accumulation of these)",
        minimum=1,
        maximum=65536,
    )
    learning_rate: float = key(
        0.256,
        "peak learning rate per 256 images of a step (it is scaled linearly with the images of a "
        "step)",
        exclusiveMinimum=0,
        maximum=100,
    )
    warmup_epochs: float = key(
        5,
        "epochs in which the learning rate rises linearly from 0, before the cosine to 0",
        minimum=0,
        maximum=10000,
    )
    momentum: float = key(0.875, "momentum of SGD", minimum=0, exclusiveMaximum=1)
    weight_decay: float = key(
        1 / 32768,
        "L2 weight decay of convolution and linear weights and the classifier's bias; batch norm "
        "has none",
        minimum=0,
        maximum=1,
    )
    label_smoothing: float = key(
        0.1,
        "share of the target probability that is spread evenly over all classes",
        minimum=0,
        exclusiveMaximum=1,
    )
    # What decides is the precision that it means on the machine, which is in the fingerprint.
    precision: Literal["auto", "fp32", "tf32", "amp_fp16", "amp_bf16", "pure_fp16"] = key(
        "auto",
        "arithmetic of the training: fp32; tf32 (fp32 rounded in convolutions, Ampere and later); "
        "amp_fp16 and amp_bf16 (convolutions in 16 bits, weights in fp32); pure_fp16 (weights in "
        "fp16 with fp32 copies); auto takes amp_fp16 on GPUs with tensor cores, else fp32",
        decides=False,
    )
    loss_scale: float = key(
        128,
        "factor on the loss in fp16, at the start if it is dynamic",
        minimum=1,
        maximum=4294967296,
    )
    dynamic_loss_scaling: bool = key(
        True,
        "halve the loss scale when gradients overflow in fp16, and double it after 2000 steps "
        "without",
    )
    layout: Literal["auto", "NCHW", "NHWC"] = key(
        "auto",
        "order of the dimensions of images and features: NCHW or NHWC; auto takes NHWC, which "
        "suits tensor cores and oneDNN",
    )
    # What decides is the number of batches per step, not how they are divided between processes.
    accumulation: int = key(
        1,
        "batches whose mean gradient makes one step, in each process",
        decides=False,
        minimum=1,
        maximum=65536,
    )
    ema: float = key(
        0,
        "decay of an exponential moving average of the weights, which is then what is validated "
        "and saved (such as 0.9999); 0 for none",
        minimum=0,
        exclusiveMaximum=1,
    )
    init: str | None = key(
        None,
        "file with the weights of a ResNet that the dense training starts from: of torchvision, "
        "timm or transformers (.pth, .pt, .safetensors), paddle.vision, PaddleClas, PaddleHub or "
        "our own (.pdparams); null for random ones (a classifier for other classes is "
        "reinitialised)",
        decides=False,
    )
    head_factor: float = key(
        1,
        "factor on the learning rate of the classifier (10 is usual in fine-tuning, where the "
        "classifier is new and the rest is not)",
        exclusiveMinimum=0,
        maximum=1000,
    )
    freeze_stem: bool = key(
        False,
        "leave the first convolution and its batch norm, statistics included, as they are in "
        "train.init",
    )
    keep: Literal["last", "best"] = key(
        "last",
        "whose weights are kept: those of the last epoch, or of the best one by top-1 on the "
        "validation images (then by their loss), with the last ones beside them in last.pdparams",
    )
    patience: int = key(
        0,
        "epochs without a better one (as in train.keep) after which a training ends early; 0 "
        "never ends one early",
        minimum=0,
        maximum=10000,
    )
    sampling: Literal["shuffle", "balanced"] = key(
        "shuffle",
        "which images an epoch has: each once (shuffle), or those of rarer classes repeatedly, so "
        "that all classes have as many as the largest (balanced; an epoch gets longer)",
    )
    class_weights: str | dict[str, float] | None = key(
        None,
        "factor on the loss of the images of each class: {class: factor}, 1 for those left out; "
        "auto for factors that give all classes the same total (images / classes / images of the "
        "class); null for none",
        schema={
            "oneOf": [
                {"type": "null"},
                {"const": "auto"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "maximum": 1000000,
                    },
                },
            ]
        },
    )
    mixup: float = key(
        0,
        "alpha of mixup: batches are mixed with themselves in reverse order in shares drawn from "
        "Beta(alpha, alpha) (0.2 is usual); 0 for none",
        minimum=0,
        maximum=10,
    )
    cutmix: float = key(
        0,
        "alpha of CutMix: as train.mixup, but a rectangle of this share is replaced (1 is usual); "
        "with both, each step draws one of the two",
        minimum=0,
        maximum=10,
    )
    distill: float = key(
        0,
        "share of the sparse training's loss that is the distance to the dense network's "
        "probabilities (knowledge distillation, 0.5 is usual); 0 for none",
        minimum=0,
        maximum=1,
    )
    distill_temperature: float = key(
        4, "temperature that softens both probabilities in distillation", minimum=1, maximum=100
    )
    tensorboard: bool = key(
        False,
        "also write the rows of metrics.csv as event files for TensorBoard, into the folder "
        "tensorboard beside it",
        decides=False,
    )
    checkpoint_minutes: float = key(
        15,
        "minutes between checkpoints within an epoch (one is written at the end of each epoch in "
        "any case)",
        decides=False,
        exclusiveMinimum=0,
        maximum=10000,
    )
