#!/usr/bin/env python3
"""TensorRT on ResNet50 at 224 px, dense against 2:4 sparse weights, on the GPU of this machine.

    python benchmarks/engines.py --precision fp16 tf32 int8 --out engines.json

Needs TensorRT (8.5 to 11), cuda-python, onnx, onnxruntime and a GPU, and no PaddlePaddle: the
networks are made here, with random weights of the right shapes, since speed does not depend on
their values except the zeros.
For each precision and batch size the dense and the sparse network run in turns in the engines of
all backends; speeds are against the dense network in the first one. The file is written after each
of these turns. --backend, --size and so on are for trying it on a smaller scale.
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
from twofour.network import architecture, pieces, stand_in
from twofour.quantization import calibration, forms, observe, onnx_graph
from twofour.sparse import layers, prune
from twofour.system import hardware, power
from twofour.system.errors import TwoFourError
from twofour.system.settings import Hardware

import numpy as np
import onnx

MODELS = ("dense", "sparse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", nargs="+", default=["tensorrt", "tensorrt_sparse"])
    parser.add_argument("--precision", nargs="+", default=["fp16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 8, 32, 128, 256])
    parser.add_argument("--size", type=int, default=224, help="height and width of the input")
    parser.add_argument("--width", type=float, default=1.0, help="factor on ResNet50's channels")
    parser.add_argument(
        "--seconds", type=float, default=2, help="how long each engine is measured at a batch size"
    )
    parser.add_argument("--work", metavar="DIR", help="keep networks and engines here")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    options = parser.parse_args()
    work = Path(options.work or tempfile.mkdtemp())
    machine = backends.target(options.backend[0], Hardware())
    _make_networks(work, options)
    rows = []
    for precision in options.precision:
        for batch_size in options.batch_size:
            built = {}
            for backend in options.backend:
                for model in MODELS:
                    out = _folder(work, model, backend, precision, batch_size)
                    like = None
                    if built and not (model == "sparse" and backend.endswith("_sparse")):
                        # The timings of the first engine's kernels; sparse ones are timed anew.
                        first = MODELS[0], options.backend[0]
                        like = _folder(work, *first, precision, batch_size)
                    batches = [profiles.Profile(batch_size, batch_size)]
                    start = time.perf_counter()
                    built[model, backend] = build.build(
                        backend, precision, work / model, out, machine, batches, like
                    )
                    taken = time.perf_counter() - start
                    built[model, backend]["seconds"] = taken
                    said = f"{model} {backend} {precision} batch {batch_size}"
                    print(f"{said}: built in {taken:.0f} s", flush=True)
            rows += _measure(work, built, machine, precision, batch_size, options)
            _write(options.out, machine, built, rows)


def _folder(work: Path, model: str, backend: str, precision: str, batch_size: int) -> Path:
    return work / model / f"{backend}-{precision}-{batch_size}"


def _measure(work, built, machine, precision, batch_size, options) -> list[dict]:
    """A row for each model and backend at one batch size, measured in turns."""
    predictors = {
        (model, backend): build.load(
            work / model, _folder(work, model, backend, precision, batch_size), machine
        )[0]
        for model, backend in built
    }
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch_size, 3, options.size, options.size)).astype(np.float32)
    expected = {model: _reference(work / model, images[:1]) for model in MODELS}
    wrong = {
        key: float(np.abs(predict(images)[:1] - expected[key[0]]).max())
        for key, predict in predictors.items()
    }
    start = time.perf_counter()
    next(iter(predictors.values()))(images)
    steps = max(10, round(options.seconds / (time.perf_counter() - start)))
    meter = power.meter(machine)
    timed = benchmark.synthetic(predictors, images, warmup=10, steps=steps, meter=meter)
    rows = []
    for (model, backend), record in built.items():
        (engine,) = record.get("engines", {}).values() or [{}]
        key = model, backend
        row = {
            "model": model,
            "backend": backend,
            "precision": precision,
            "batch_size": batch_size,
            **timed[key],
            "speedup": _ratio(timed, key, ()),
            "device_speedup": _ratio(timed, key, ("device",)),
            "layers_eligible": engine.get("eligible_count"),
            "layers_picked": engine.get("picked_count"),
            "engine": engine,
            "largest_difference": wrong[key],
            "build_s": record["seconds"],
        }
        rows.append(row)
        line = f"{model} {backend} {precision} batch {batch_size}: "
        line += f"{row['throughput_img_s']:.0f} img/s ({row['speedup']:.3f} ×)"
        if row["device_speedup"] is not None:
            line += f", GPU alone {row['device']['throughput_img_s']:.0f} img/s "
            line += f"({row['device_speedup']:.3f} ×)"
        if row["layers_picked"] is not None:
            line += f", {row['layers_picked']} of {row['layers_eligible']} layers on sparse kernels"
        print(f"{line}, largest difference {wrong[key]:.1e}", flush=True)
    return rows


def _ratio(timed: dict, key: tuple, path: tuple) -> float | None:
    """Throughput over that of the first one, which is dense; None where it was not measured."""
    values = []
    for name in (key, next(iter(timed))):
        value = timed[name]
        for part in path:
            value = value.get(part)
            if value is None:
                return None
        values.append(value["throughput_img_s"])
    return values[0] / values[1]


def _write(path: str, machine, built: dict, rows: list[dict]) -> None:
    record = next(iter(built.values()))
    facts = {
        "gpu": hardware.gpus(),
        "device": machine.name,
        "version": record["version"],
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(sys.argv),
        "rows": rows,
    }
    Path(path).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _make_networks(work: Path, options) -> None:
    """Write the network with random weights, and the same pruned as the pipeline does."""
    network = architecture.resnet(config.validated({"model": {"width": options.width}}).model, 1000)
    state = stand_in.random_state(network)
    defaults = config.validated({}).sparsity
    names = layers.chosen(layers.choose(network.weights, defaults.include, defaults.exclude))
    states = {"dense": state, "sparse": prune.prune(state, names, "mask_1d")[0]}
    for model, weights in states.items():
        (work / model).mkdir(parents=True, exist_ok=True)
        made = pieces.whole(network, weights, options.size)
        onnx.checker.check_model(made)
        onnx.save(made, str(work / model / artifacts.ONNX))
        if backends.INT8 in options.precision:
            _quantise(work / model, options.size)


def _quantise(model: Path, size: int) -> None:
    """Write the same network with Q/DQ pairs; speed does not depend on the ranges, so of noise."""
    noise = np.random.default_rng(2).standard_normal((4, 3, size, size)).astype(np.float32)
    limits, _ = calibration.calibrate(model, lambda: [noise], "minmax", 100, 1)
    graph = onnx_graph.load(model / artifacts.ONNX)
    onnx_graph.write(model / artifacts.QUANTIZED, forms.for_tensorrt(graph, limits))


def _reference(model: Path, images: np.ndarray) -> np.ndarray:
    """Class probabilities in fp32 on the CPU, by ONNX Runtime."""
    graph = onnx_graph.load(model / artifacts.ONNX)
    run = observe.runner(graph, [architecture.PROBABILITIES], 1)
    return run(images)[architecture.PROBABILITIES]


if __name__ == "__main__":
    try:
        main()
    except TwoFourError as error:
        sys.exit(f"error: {error}")
