#!/usr/bin/env python3
"""DALI's training pipeline, 500×375 JPEG files to batches of 224×224, on this machine's GPU.

    python benchmarks/loader_gpu.py --out loader.json

Needs DALI and no PaddlePaddle. On the CPU, on the GPU with files decoded there, and on the GPU with
files decoded on the CPU, in turns, for several numbers of threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from twofour.system import hardware

import pictures
import turns

WHO = {
    "dali": "CPU",
    "dali_gpu": "GPU, decoding too",
    "dali_gpu_cpu": "GPU, decoding on the CPU",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=turns.ROUNDS)
    parser.add_argument("--who", nargs="+", default=list(WHO), choices=WHO)
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures.make(Path(folder), options.images, 500, 375)
        contestants = {
            (name, threads): ("load.py", name, folder, options.batch_size, threads)
            for threads in options.threads
            for name in options.who
        }
        rates = turns.measure(contestants, options.rounds)
    rows = []
    for (name, threads), found in rates.items():
        median = statistics.median(found)
        rows.append({"who": name, "threads": threads, "img_s": median, "rounds_img_s": found})
        print(f"{WHO[name]}, {threads} threads: {median:.0f} img/s", flush=True)
    facts = {
        "gpu": hardware.gpus(),
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(sys.argv),
        "batch_size": options.batch_size,
        "rows": rows,
    }
    Path(options.out).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
