"""The network of :mod:`.architecture` as a PaddlePaddle static graph.

Every parameter carries the name that the architecture gives it, so that weights mean the same in
every program that builds the network: training, evaluation, export.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import paddle
from paddle import ParamAttr
from paddle.nn import functional
from paddle.nn.initializer import Constant, KaimingNormal, Uniform
from paddle.regularizer import L2Decay
from paddle.static import nn

from ..system import paddle_versions
from .architecture import (
    CLASSIFIER,
    CLASSIFIER_BIAS,
    NORM_EPSILON,
    NORM_PARTS,
    Architecture,
    Block,
    Conv,
    input_of,
    output_of,
)

NORM_MOMENTUM = 0.9  # of the running statistics
_ONEDNN_OPS = {"conv2d", "conv2d_grad", "pool2d"}


class Rounding(Protocol):
    """Rounds weights and activations, for networks that are to compute with integers."""

    def weight(self, variable: Any, axis: int) -> Any:
        """A weight, rounded for each of its output channels, which are along ``axis``."""

    def activation(self, variable: Any, name: str) -> Any:
        """An activation, rounded by the range ``name``: <layer>.input or <layer>.output."""


@dataclass(frozen=True)
class _Form:
    """How layers are added: see :func:`forward`."""

    training: bool
    layout: str
    prefix: str
    rounding: Rounding | None

    def rounded(self, x, name: str):
        """The activation ``x``, rounded by the range ``name`` if that is asked for."""
        return self.rounding.activation(x, name) if self.rounding else x


def forward(
    network: Architecture,
    images: paddle.static.Variable,
    training: bool,
    layout: str = "NCHW",
    frozen_stem: bool = False,
    prefix: str = "",
    rounding: Rounding | None = None,
):
    """Add the network to the current program.

    ``images`` is [N, C, H, W], or [N, H, W, C] with the ``layout`` NHWC (weights are OIHW in both);
    returns logits [N, classes]. In training, batch norm uses the batch's statistics and updates the
    running ones, but in a ``frozen_stem``; otherwise it uses the running ones. Names of weights
    begin with ``prefix``. With ``rounding``, what layers read is rounded, and batch norm always
    uses the running statistics, as a folded one does.
    """
    form = _Form(training, layout, prefix, rounding)
    x = form.rounded(images, input_of(network.stem.name))
    x = _conv(network.stem, x, replace(form, training=training and not frozen_stem), relu=True)
    x = functional.max_pool2d(x, kernel_size=3, stride=2, padding=1, data_format=layout)
    for block in network.blocks:
        x = _block(block, x, form)
    x = functional.adaptive_avg_pool2d(x, 1, data_format=layout)
    bound = 1 / math.sqrt(network.features)
    weight_attr = ParamAttr(prefix + CLASSIFIER, initializer=Uniform(-bound, bound))
    bias_attr = ParamAttr(prefix + CLASSIFIER_BIAS, initializer=Constant(0.0))
    x = paddle.flatten(x, 1)
    if rounding is None:
        return nn.fc(x, network.classes, weight_attr=weight_attr, bias_attr=bias_attr)
    x = form.rounded(x, input_of(CLASSIFIER.removesuffix(".weight")))
    shape = [network.features, network.classes]
    weight = paddle.static.create_parameter(shape, "float32", attr=weight_attr)
    bias = paddle.static.create_parameter(shape[1:], "float32", attr=bias_attr, is_bias=True)
    return paddle_versions.product(x, rounding.weight(weight, 1)) + bias


def _block(block: Block, x, form: _Form):
    x = y = form.rounded(x, input_of(block.convs[0].name))
    for conv, following in zip(block.convs, block.convs[1:]):
        y = form.rounded(_conv(conv, y, form, relu=True), input_of(following.name))
    y = _conv(block.convs[-1], y, form, relu=False)
    if block.shortcut:
        x = _conv(block.shortcut, x, form, relu=False)
        x = form.rounded(x, output_of(block.shortcut.name))
    return functional.relu(x + y)


def _conv(conv: Conv, x, form: _Form, relu: bool):
    # He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10: std = sqrt(2 / fan-in)
    initializer = KaimingNormal(nonlinearity="relu")
    attr = ParamAttr(form.prefix + conv.weight, initializer=initializer)
    where = {"stride": conv.stride, "padding": (conv.kernel - 1) // 2, "data_format": form.layout}
    if form.rounding is None:
        x = nn.conv2d(x, conv.outputs, conv.kernel, param_attr=attr, bias_attr=False, **where)
    else:
        w = paddle.static.create_parameter(list(conv.shape), "float32", attr=attr)
        x = functional.conv2d(x, form.rounding.weight(w, 0), **where)
    # A regularizer of its own, with decay 0, exempts a parameter from the optimiser's weight decay.
    weight, bias, mean, variance = (f"{form.prefix}{conv.norm}.{part}" for part in NORM_PARTS)
    return nn.batch_norm(
        x,
        act="relu" if relu else None,
        is_test=not form.training,
        data_layout=form.layout,
        momentum=NORM_MOMENTUM,
        epsilon=NORM_EPSILON,
        param_attr=ParamAttr(weight, initializer=Constant(1.0), regularizer=L2Decay(0.0)),
        bias_attr=ParamAttr(bias, initializer=Constant(0.0), regularizer=L2Decay(0.0)),
        moving_mean_name=mean,
        moving_variance_name=variance,
        use_global_stats=form.rounding is not None,
    )


def place(device: str, gpu: int = 0):
    """PaddlePaddle's place for ``device``: "cpu", or "gpu" (number ``gpu``)."""
    return paddle.CUDAPlace(gpu) if device == "gpu" else paddle.CPUPlace()


def input_shape(network: Architecture, size: int | None, layout: str = "NCHW") -> list:
    """Shape of the network's input with a free batch size; with no ``size``, height and width, too.

    [None, C, H, W], or [None, H, W, C] with the ``layout`` NHWC.
    """
    channels = network.input_channels
    return [None, channels, size, size] if layout == "NCHW" else [None, size, size, channels]


def use_onednn(program: paddle.static.Program) -> None:
    """Run convolutions and pooling with oneDNN. (The global flag for all operators breaks it.)

    With the layout NHWC, this returns the gradients of weights in another order
    (:mod:`twofour.train.training_graph`).
    """
    for block in program.blocks:
        for op in block.ops:
            if op.type in _ONEDNN_OPS:
                op._set_attr("use_mkldnn", True)
