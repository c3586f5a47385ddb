#!/usr/bin/env python3
"""What needs a GPU: training against the published figure, DALI on the GPU, TensorRT's sparsity.

The published figure is NVIDIA's for ResNet50 v1.5 in PaddlePaddle: 2897 img/s on one A100 (80 GB),
mixed precision, batch 256. Without a GPU the rows say that they were not run.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from twofour.system import hardware

import processes
import training
import turns

PUBLISHED, BATCH, IMAGES = 2897, 256, 8192
CASE = "ResNet50 224 px"
TRAIN = ("train_gpu", f"{CASE}, batch {BATCH}, mixed precision")
DALI = ("loader_gpu", "500×375 JPEG files to 224×224, decoded on the GPU")
TENSORRT = ("tensorrt", "2:4 sparse ResNet50, fp16, sparse kernels allowed")
AT_LEAST_PUBLISHED, KEEPS_UP, PAYS = ((turns.AT_LEAST, aim) for aim in (1, 1.1, 1))


def rows() -> list[dict]:
    if not hardware.gpus():
        return [
            turns.not_run(*TRAIN, f"published {PUBLISHED} img/s, A100", AT_LEAST_PUBLISHED),
            turns.not_run(*DALI, "training in row train_gpu", KEEPS_UP),
            turns.not_run(*TENSORRT, "the dense network in the same engine kind", PAYS),
        ]
    return [*_training(), *_tensorrt()]


def _training() -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        data = training.dataset(Path(folder), CASE, IMAGES, 500, 375)
        rates = turns.measure(
            {
                "loop": ("step.py", "loop", CASE, BATCH, data),
                "constant": ("step.py", "constant", CASE, BATCH, data),
                "loader": ("load.py", "ours_gpu", Path(folder) / "images", BATCH, 8),
            }
        )
    published = [PUBLISHED] * turns.ROUNDS
    limit = "a constant batch, no fetch (limit)"
    name, case = TRAIN
    return [
        turns.row(
            *(name, case, "img/s", rates["loop"]),
            *(f"published {PUBLISHED} img/s, A100", published, AT_LEAST_PUBLISHED),
        ),
        turns.row(
            *(name, case, "img/s", rates["loop"]),
            *(limit, rates["constant"], (turns.AT_LEAST, 0.97)),
        ),
        turns.row(
            *(*DALI, "img/s", rates["loader"], "training in row train_gpu"),
            *(rates["loop"], KEEPS_UP),
        ),
    ]


def _tensorrt() -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tensorrt.json"
        processes.python(*(turns.HERE / "engines.py", "--backend", "tensorrt_sparse", "--out", out))
        measured = json.loads(out.read_text())["rows"]
    name, case = TENSORRT
    found = []
    for batch in sorted({row["batch_size"] for row in measured}):
        dense, sparse = (
            next(r for r in measured if r["batch_size"] == batch and r["model"] == model)
            for model in ("dense", "sparse")
        )
        found.append(
            turns.row(
                *(name, f"{case}, batch {batch}", "img/s", sparse["rounds_img_s"]),
                *("the dense network in the same engine kind", dense["rounds_img_s"], PAYS),
                layers_picked=sparse["layers_picked"],
            )
        )
    return found


if __name__ == "__main__":
    turns.main(__doc__, rows)
