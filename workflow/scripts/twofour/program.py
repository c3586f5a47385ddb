"""PaddlePaddle static programs: one that trains the network and one that applies it.

Both live in the global scope and share their weights by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import paddle
from paddle.incubate import asp
from paddle.nn import functional

from . import model, sparsity
from .architecture import Architecture

IMAGES, LABELS, PROBABILITIES = "images", "labels", "probabilities"
LOSS_SUM = "train.loss_sum"  # of the epoch, summed in the graph so that no step has to wait for it
FINITE_STEPS = "train.finite_steps"  # of the epoch, before the first loss that is not a number

_ONEDNN_OPS = {"conv2d", "conv2d_grad"}


@dataclass
class TrainingProgram:
    """``loss`` is the fetchable mean loss of a batch; ``state`` names what a checkpoint keeps."""

    main: paddle.static.Program
    startup: paddle.static.Program
    loss: paddle.static.Variable
    scheduler: paddle.optimizer.lr.LRScheduler
    state: list[str]

    def learning_rate(self) -> float:
        """The learning rate that the last step really used, read from the scope."""
        name = self.scheduler._var_name
        variable = paddle.static.global_scope().find_var(name)
        return float(np.ravel(np.array(variable.get_tensor()))[0])


def place(device: str):
    """PaddlePaddle's name for "cpu" or "gpu" (the first one)."""
    return paddle.CUDAPlace(0) if device == "gpu" else paddle.CPUPlace()


def input_shape(network: Architecture, data: dict) -> list:
    """Shape of the network's input with a free batch size: [None, C, H, W]."""
    return [None, network.input_channels, data["image_size"], data["image_size"]]


def build_training(
    network: Architecture,
    data: dict,
    train: dict,
    learning_rate: Callable[[int], float],
    seed: int,
    device: str,
    sparse_weights: list[str],
) -> TrainingProgram:
    """The training program for the config's sections ``data`` and ``train``.

    ``learning_rate`` maps the number of an update to its rate. The weights named in
    ``sparse_weights`` get a mask each, multiplied onto them after every update
    (paddle.incubate.asp); the masks start as ones.

    Loss: cross-entropy against smoothed labels (C. Szegedy et al., CVPR 2016, section 7).
    Optimiser: SGD with momentum; the weight decay is added to the gradient, none on batch norm.
    """
    paddle.enable_static()
    main, startup = paddle.static.Program(), paddle.static.Program()
    main.random_seed = startup.random_seed = seed
    paddle.seed(seed)
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        images = paddle.static.data(IMAGES, input_shape(network, data), "float32")
        labels = paddle.static.data(LABELS, [None], "int64")
        logits = model.forward(network, images, training=True)
        loss = smoothed_cross_entropy(logits, labels, network.classes, train["label_smoothing"])
        total = paddle.static.create_global_var([1], 0.0, "float64", True, name=LOSS_SUM)
        # What is no number hides: ReLU makes 0 of it, and the cross-entropy a loss of 32. It stays
        # in the running means of the layer where it arose, and 0 · nan is nan.
        block = main.global_block()
        means = paddle.concat([block.var(f"{conv.norm}.mean") for conv in network.convs])
        shown = loss.detach() + 0.0 * (paddle.mean(means) + paddle.mean(logits.detach()))
        paddle.assign(total + paddle.cast(shown, "float64"), output=total)
        finite = paddle.static.create_global_var([1], 0.0, "float64", True, name=FINITE_STEPS)
        paddle.assign(finite + paddle.cast(paddle.isfinite(total), "float64"), output=finite)
        scheduler = paddle.optimizer.lr.LambdaDecay(1.0, learning_rate)
        optimizer = paddle.optimizer.Momentum(
            scheduler, momentum=train["momentum"], weight_decay=train["weight_decay"]
        )
        if sparse_weights:
            sparsity.register(sparse_weights)
            optimizer = asp.decorate(optimizer)
        optimizer.minimize(loss, startup)
    if device == "cpu":
        use_onednn(main)
    state = sorted(v.name for v in main.list_vars() if v.persistable and v.name not in _PLUMBING)
    return TrainingProgram(main, startup, loss, scheduler, state)


def smoothed_cross_entropy(logits, labels, classes: int, smoothing: float):
    """Mean cross-entropy [1] of ``logits`` [N, classes] against smoothed ``labels`` [N].

    The true class has the target 1 - smoothing + smoothing / classes, the others
    smoothing / classes.
    """
    targets = functional.one_hot(labels, classes)
    if smoothing:
        targets = functional.label_smooth(targets, epsilon=smoothing)
    loss = functional.cross_entropy(logits, targets, soft_label=True, reduction="mean")
    return paddle.reshape(loss, [1])


@dataclass
class InferenceProgram:
    """The network with fixed statistics: ``images`` in, class ``probabilities`` out."""

    main: paddle.static.Program
    startup: paddle.static.Program
    images: paddle.static.Variable
    probabilities: paddle.static.Variable

    def predictor(self, executor) -> Callable[[np.ndarray], np.ndarray]:
        """A function from images [N, C, H, W] to probabilities [N, classes]."""

        def predict(images: np.ndarray) -> np.ndarray:
            return executor.run(self.main, feed={IMAGES: images}, fetch_list=[self.probabilities])[
                0
            ]

        return predict


def build_inference(network: Architecture, data: dict, device: str) -> InferenceProgram:
    """The program that applies the network, for the config's section ``data``."""
    paddle.enable_static()
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        images = paddle.static.data(IMAGES, input_shape(network, data), "float32")
        probabilities = functional.softmax(model.forward(network, images, training=False))
    if device == "cpu":
        use_onednn(main)
    return InferenceProgram(main, startup, images, probabilities)


def use_onednn(program: paddle.static.Program) -> None:
    """Run the convolutions with oneDNN. (The global flag for all operators breaks training.)"""
    for block in program.blocks:
        for op in block.ops:
            if op.type in _ONEDNN_OPS:
                op._set_attr("use_mkldnn", True)


_PLUMBING = {"feed", "fetch"}
