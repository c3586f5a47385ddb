"""The values of activations, computed by ONNX Runtime in floating point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .onnx_graph import Graph
from .ranges import Values


def runner(graph: Graph, names: Iterable[str], threads: int):
    """A function from images [N, C, H, W] float32 to {name: values} of the tensors ``names``.

    The graph is computed as it is written, operator by operator.
    """
    import onnx
    import onnxruntime

    wanted = list(names)
    inner = [name for name in wanted if name != graph.images]
    model = type(graph.model)()
    model.CopyFrom(graph.model)
    given = {value.name for value in model.graph.output}
    for name in inner:
        if name not in given:
            kind = onnx.TensorProto.FLOAT
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(images: np.ndarray) -> Values:
        found = dict(zip(inner, session.run(inner, {graph.images: images})))
        return {name: images if name == graph.images else found[name] for name in wanted}

    return run
