#!/usr/bin/env python3
"""PyTorch's ResNet50 on the GPU of this machine: the peer of benchmarks/engines.py.

    python benchmarks/torch_gpu.py --out torch.json

Needs PyTorch and torchvision alone. Inference in fp16, channels last, compiled with frozen weights
and CUDA graphs, on images that are on the GPU already, as the column "GPU alone" of engines.py.
Training steps in bf16 (autocast), compiled, with SGD and momentum, on one constant batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch._inductor.config
import torchvision

ROUNDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 8, 32, 128, 256])
    parser.add_argument("--train-batch-size", nargs="*", type=int, default=[256])
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    rows = []
    for kind, sizes in (("infer", options.batch_size), ("train", options.train_batch_size)):
        for size in sizes:
            start = time.perf_counter()
            step = (_infer if kind == "infer" else _train)(size)
            for _ in range(5):
                step()
            torch.cuda.synchronize()
            compiled = time.perf_counter() - start
            rates = _rates(step, size, options.seconds)
            rows.append(
                {
                    "kind": kind,
                    "batch_size": size,
                    "throughput_img_s": statistics.median(rates),
                    "rounds_img_s": rates,
                    "compile_s": compiled,
                }
            )
            print(f"{kind} batch {size}: {statistics.median(rates):.0f} img/s", flush=True)
            facts = {
                "gpu": torch.cuda.get_device_name(),
                "version": torch.__version__,
                "cudnn": torch.backends.cudnn.version(),
                "date": time.strftime("%Y-%m-%d"),
                "command": " ".join(sys.argv),
                "rows": rows,
            }
            Path(options.out).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _infer(size: int):
    torch._inductor.config.freezing = True
    model = torchvision.models.resnet50().cuda().half().eval()
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(size, 3, 224, 224, device="cuda", dtype=torch.half)
    images = images.to(memory_format=torch.channels_last)
    compiled = torch.compile(model, mode="reduce-overhead", dynamic=False)

    def step() -> None:
        with torch.inference_mode():
            compiled(images)

    return step


def _train(size: int):
    torch._inductor.config.freezing = False
    torch._dynamo.reset()
    model = torchvision.models.resnet50().cuda().to(memory_format=torch.channels_last)
    images = torch.randn(size, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (size,), device="cuda")
    compiled = torch.compile(model, dynamic=False)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(compiled(images), labels)
        loss.backward()
        optimiser.step()

    return step


def _rates(step, size: int, seconds: float) -> list[float]:
    """img/s in each of the rounds, by events on the GPU."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def taken(steps: int) -> float:
        begin.record()
        for _ in range(steps):
            step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000

    steps = max(1, round(seconds / ROUNDS / (taken(5) / 5)))
    return [steps * size / taken(steps) for _ in range(ROUNDS)]


if __name__ == "__main__":
    main()
