"""Batch norm folded into the convolution before it.

y = γ (w∗x − μ) / √(σ² + ε) + β is a convolution with the weights w·k and the bias β − μ·k, where
k = γ / √(σ² + ε) for each output channel. Zeros stay zeros.
"""

from __future__ import annotations

import numpy as np

from ..system.errors import TwoFourError
from .onnx_graph import Graph, along


def fold(graph: Graph) -> Graph:
    """Fold each batch norm of ``graph``, which it changes and returns.

    Weights and activations keep their names; a bias is called <layer>.bias.
    Raises TwoFourError for a batch norm that follows no convolution of its own.
    """
    gone: list[str] = []
    norms = [node for node in graph.proto.node if node.op_type == "BatchNormalization"]
    for norm in norms:
        conv = graph.makers.get(norm.input[0])
        alone = len(graph.readers[norm.input[0]]) == 1
        if conv is None or conv.op_type != "Conv" or len(conv.input) > 2 or not alone:
            raise TwoFourError(f"the batch norm {norm.name} follows no convolution without bias")
        gamma, beta, mean, variance = (graph.array(n).astype(np.float64) for n in norm.input[1:5])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(variance + epsilon)
        name = conv.input[1]
        weight = graph.array(name).astype(np.float64) * along(factor, 4, 0)
        graph.store(name, weight.astype(np.float32))
        bias = f"{name.removesuffix('.weight')}.bias"
        graph.store(bias, (beta - mean * factor).astype(np.float32))
        conv.input.append(bias)
        conv.output[0] = norm.output[0]
        gone += norm.input[1:5]
    nodes = [node for node in graph.proto.node if node.op_type != "BatchNormalization"]
    graph.drop(gone)
    graph.set_nodes(nodes)
    return graph
