"""The network in inference: fixed statistics, images in, class probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import paddle
from paddle.nn import functional

from . import graph, scope, weights
from .architecture import IMAGES, Architecture


class Inference:
    """A network with its own weights, separate from those of any other graph in this process.

    It maps normalised images [N, C, H, W] float32 (or [N, H, W, C], with the ``layout`` NHWC) of
    ``size`` pixels to class probabilities [N, classes]. ``device`` is "cpu", "gpu" (its number
    ``gpu``), or "any" for a graph without attributes of either, as exported files should have.
    With ``rounding`` it is quantised; the variables ``ranges`` are then part of its state.
    """

    def __init__(
        self,
        network: Architecture,
        size: int,
        device: str,
        layout: str = "NCHW",
        gpu: int = 0,
        rounding: graph.Rounding | None = None,
        ranges: Iterable[str] = (),
    ) -> None:
        paddle.enable_static()
        self._names = [*network.state, *ranges]
        self.graph, startup = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(self.graph, startup), paddle.utils.unique_name.guard():
            shape = graph.input_shape(network, size, layout)
            self.images = paddle.static.data(IMAGES, shape, "float32")
            logits = graph.forward(
                network, self.images, training=False, layout=layout, rounding=rounding
            )
            self.probabilities = functional.softmax(logits)
        if device == "cpu":
            graph.use_onednn(self.graph)
        self.place = graph.place(device, gpu)
        self.executor = paddle.static.Executor(self.place)
        self.scope = paddle.static.Scope()
        self.executor.run(startup, scope=self.scope)

    def load(self, state: Mapping[str, np.ndarray], where: str = "the weights") -> Inference:
        """Load weights and statistics from ``state``, which may hold more; returns self.

        Raises TwoFourError, with ``where``, if something is missing or of another shape.
        """
        weights.require(state, self._names, where)
        scope.write({name: state[name] for name in self._names}, self.place, self.scope)
        return self

    def __call__(self, images: np.ndarray) -> np.ndarray:
        feed = {IMAGES: images}
        return self.executor.run(self.graph, feed, [self.probabilities], scope=self.scope)[0]
