#!/usr/bin/env python3
"""TensorRT on ResNet50 at 224 px, dense against 2:4 sparse weights, on the GPU of this machine.

    python benchmarks/engines.py --precision fp16 tf32 int8 --out engines.json

Needs TensorRT (8.5 to 11), cuda-python, onnx and a GPU, for int8 also onnxruntime, and no
PaddlePaddle: the networks are made here, with random weights of the right shapes, since speed does
not depend on their values except the zeros.
For each precision and batch size the dense and the sparse network run in turns, in engines with and
without sparse kernels allowed. --backend, --size and so on are for trying it on a smaller scale.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from twofour import artifacts, config
from twofour.deploy import backends, benchmark, build, profiles
from twofour.network import architecture
from twofour.quantization import calibration, forms, onnx_graph
from twofour.sparse import layers, pattern, prune
from twofour.system import hardware
from twofour.system.errors import TwoFourError
from twofour.system.settings import Hardware

import numpy as np

MODELS = ("dense", "sparse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", nargs="+", default=["tensorrt", "tensorrt_sparse"])
    parser.add_argument("--precision", nargs="+", default=["fp16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 8, 32, 128, 256])
    parser.add_argument("--size", type=int, default=224, help="height and width of the input")
    parser.add_argument("--width", type=float, default=1.0, help="factor on ResNet50's channels")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--work", metavar="DIR", help="keep networks and engines here")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    options = parser.parse_args()
    work = Path(options.work or tempfile.mkdtemp())
    network = architecture.resnet(config.validated({"model": {"width": options.width}}).model, 1000)
    for model, weights in _weights(network).items():
        _write_onnx(network, weights, options.size, work / model / artifacts.ONNX)
        if backends.INT8 in options.precision:
            _quantise(work / model, options.size)
    reference = {model: _reference(work / model, options.size) for model in MODELS}

    rows = []
    for backend in options.backend:
        machine = backends.target(backend, Hardware())
        for precision in options.precision:
            built = {}
            for model in MODELS:
                start = time.perf_counter()
                batches = profiles.make(options.batch_size, evaluation=min(options.batch_size))
                out = work / model / f"{backend}-{precision}"
                record = build.build(backend, precision, work / model, out, machine, batches)
                seconds = time.perf_counter() - start
                built[model] = record, seconds
                print(f"{model} {backend} {precision}: built in {seconds:.0f} s", flush=True)
            for batch_size in options.batch_size:
                rows += _measure(work, built, reference, machine, batch_size, options)
                _write(options.out, machine, built, rows)


def _measure(work, built, reference, machine, batch_size, options) -> list[dict]:
    """A row for each model at one batch size, measured in turns."""
    record = built["dense"][0]
    name = f"{record['backend']}-{record['precision']}"
    predictors = {m: build.load(work / m, work / m / name, machine)[0] for m in MODELS}
    shape = (batch_size, 3, options.size, options.size)
    batch = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    timed = benchmark.synthetic(predictors, batch, warmup=10, steps=options.steps)
    rows = []
    for model in MODELS:
        record, seconds = built[model]
        engine = record.get("engines", {}).get(f"bs{batch_size}", {})
        difference = None
        if batch_size == min(options.batch_size):
            images, expected = reference[model]
            batch = np.repeat(images, batch_size, axis=0)
            difference = float(np.abs(predictors[model](batch)[:1] - expected).max())
        rows.append(
            {
                "model": model,
                "backend": record["backend"],
                "precision": record["precision"],
                "batch_size": batch_size,
                **timed[model],
                "speedup": _ratio(timed, model, ()),
                "device_speedup": _ratio(timed, model, ("device",)),
                "layers_eligible": engine.get("eligible_count"),
                "layers_picked": engine.get("picked_count"),
                "largest_difference": difference,
                "build_s": seconds,
            }
        )
        row = rows[-1]
        line = f"{model} {name} batch {batch_size}: {row['throughput_img_s']:.0f} img/s "
        line += f"({row['speedup']:.3f} ×)"
        if row["device_speedup"] is not None:
            line += f", GPU alone {row['device_speedup']:.3f} ×"
        if row["layers_picked"] is not None:
            line += f", {row['layers_picked']} of {row['layers_eligible']} layers on sparse kernels"
        if difference is not None:
            line += f", largest difference {difference:.1e}"
        print(line, flush=True)
    return rows


def _ratio(timed: dict, model: str, path: tuple) -> float | None:
    """Throughput over the dense model's; None where it was not measured."""
    values = []
    for name in (model, "dense"):
        value = timed[name]
        for key in path:
            value = value.get(key)
            if value is None:
                return None
        values.append(value["throughput_img_s"])
    return values[0] / values[1]


def _write(path: str, machine, built: dict, rows: list[dict]) -> None:
    record = built["dense"][0]
    facts = {
        "gpu": hardware.gpus(),
        "device": machine.name,
        "version": record["version"],
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(sys.argv),
        "rows": rows,
    }
    Path(path).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _weights(network) -> dict[str, dict[str, np.ndarray]]:
    """Random weights, and the same ones pruned as the pipeline does."""
    rng = np.random.default_rng(0)
    dense = {}
    for name, shape in network.weights.items():
        inputs = np.prod(shape) / shape[1 - pattern.input_axis(shape)]
        scale = 0.3 if name.endswith("conv3.weight") else 1.0  # keeps the residual sums in range
        dense[name] = (rng.standard_normal(shape) * scale * (2 / inputs) ** 0.5).astype(np.float32)
    defaults = config.validated({}).sparsity
    names = layers.chosen(layers.choose(network.weights, defaults.include, defaults.exclude))
    return {"dense": dense, "sparse": prune.prune(dense, names, "mask_1d")[0]}


def _write_onnx(network, weights: dict, size: int, path: Path) -> None:
    """The network as it is deployed: batch norm is folded into convolutions with a bias."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, tensors = [], dict(weights)

    def node(kind: str, inputs: list[str], name: str, **attributes) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def conv(layer, x: str) -> str:
        tensors[f"{layer.name}.bias"] = np.zeros(layer.outputs, np.float32)
        inputs = [x, layer.weight, f"{layer.name}.bias"]
        pads, strides = [(layer.kernel - 1) // 2] * 4, [layer.stride] * 2
        return node("Conv", inputs, layer.name, pads=pads, strides=strides)

    x = node("Relu", [conv(network.stem, "images")], "stem.relu")
    x = node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for number, block in enumerate(network.blocks):
        y = x
        for layer in block.convs[:-1]:
            y = node("Relu", [conv(layer, y)], f"{layer.name}.relu")
        y = conv(block.convs[-1], y)
        x = conv(block.shortcut, x) if block.shortcut else x
        x = node("Relu", [node("Add", [x, y], f"block{number}.add")], f"block{number}.relu")
    x = node("Flatten", [node("GlobalAveragePool", [x], "average")], "flatten")
    nodes.append(helper.make_node("MatMul", [x, architecture.CLASSIFIER], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        network.name,
        [value("images", TensorProto.FLOAT, ["N", 3, size, size])],
        [value("probabilities", TensorProto.FLOAT, ["N", network.classes])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def _quantise(model: Path, size: int) -> None:
    """Write the same network with Q/DQ pairs; speed does not depend on the ranges, so of noise."""
    noise = np.random.default_rng(2).standard_normal((4, 3, size, size)).astype(np.float32)
    limits, _ = calibration.calibrate(model, lambda: [noise], "minmax", 100, 1)
    graph = onnx_graph.load(model / artifacts.ONNX)
    onnx_graph.write(model / artifacts.QUANTIZED, forms.for_tensorrt(graph, limits))


def _reference(model: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its class probabilities in fp32 on the CPU, by ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    images = np.random.default_rng(1).standard_normal((1, 3, size, size)).astype(np.float32)
    (expected,) = ReferenceEvaluator(str(model / artifacts.ONNX)).run(None, {"images": images})
    return images, expected


if __name__ == "__main__":
    try:
        main()
    except TwoFourError as error:
        sys.exit(f"error: {error}")
