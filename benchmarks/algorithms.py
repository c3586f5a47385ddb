#!/usr/bin/env python3
"""What the choice of weights by each algorithm costs, before and after retraining.

    python benchmarks/algorithms.py FOLDER

Runs the workflow in FOLDER (which keeps it) on the demo's digits and on crops of photographs
(photographs.py), with three seeds, and prints for each algorithm its top-1 and its difference from
mask_1d, paired by image and seed. Takes about half an hour on two cores; needs scikit-image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twofour import artifacts, models
from twofour.data import lists
from twofour.deploy import predicted
from twofour.report import statistics

import numpy as np
import photographs
import turns

ALGORITHMS = ("mask_1d", "wanda", "mask_2d_best")
SEEDS = (1, 2, 3)
CASE = "onnxruntime-fp32"
TRAIN, VAL, NOISE = 400, 200, 10  # images of each photograph, noise of each pixel
SETS = {
    "digits": {
        "data": {"source": "digits", "resize": 32, "flip": False, "std": [0.5] * 3},
        "train": {"epochs": 12},
    },
    "photographs": {
        "data": {"root": "photographs", "resize": 36, "std": [0.25] * 3},
        "train": {"epochs": 30},
    },
}
COMMON = {
    "seed": list(SEEDS),
    "data": {"image_size": 32, "crop_area": [0.6, 1.0], "mean": [0.5] * 3},
    "model": {"width": 0.25, "blocks": [1, 1, 1, 1]},
    "train": {"batch_size": 32, "learning_rate": 0.4, "warmup_epochs": 1},
    "sparsity": {"algorithm": list(ALGORITHMS)},
    "deploy": {"backends": ["onnxruntime"]},
    "benchmark": {"batch_sizes": [8], "steps": 5},
    "hardware": {"threads": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where results are kept")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "photographs").exists():
        photographs.make(folder / "photographs", TRAIN, VAL, NOISE)
    for name, own in SETS.items():
        config = {"run": name, **COMMON}
        config.update({key: {**COMMON[key], **value} for key, value in own.items()})
        path = folder / f"{name}.json"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "snakemake", "-s", turns.HERE.parent / "Snakefile"]
        options = ["--cores", "all", "--configfile", path.name]
        subprocess.run([*map(str, command), *options], cwd=folder, check=True)
        table(name, folder / "results" / name)


def table(name: str, results: Path) -> None:
    """Print a line for each algorithm, pruned alone and retrained."""
    dataset = lists.read(results / "dataset")

    def right(model: str) -> np.ndarray:
        path = results / artifacts.PREDICTIONS.format(model=model, case=CASE)
        return predicted.read(path, dataset.content).labels[:, 0] == dataset.val.labels

    heads = list(models.heads(SEEDS))
    dense = [100 * right(head + models.DENSE).mean() for head in heads]
    print(f"{name}: dense {_spread(dense)}, {len(dataset.val.labels)} validation images")
    for kind, when in ((models.PRUNED, "pruned"), (models.SPARSE, "retrained")):
        plain = [right(head + kind) for head in heads]
        for suffix, algorithm in models.branches(ALGORITHMS).items():
            mine = [right(head + kind + suffix) for head in heads]
            line = f"  {when:<9} {algorithm:<12} {_spread([100 * r.mean() for r in mine])}"
            if algorithm != ALGORITHMS[0]:
                line += f"  against {ALGORITHMS[0]}: {_difference(plain, mine)}"
            print(line)


def _spread(top1: Sequence[float]) -> str:
    return f"{np.mean(top1):.2f} ± {np.std(top1, ddof=1):.2f} %"


def _difference(plain: Sequence[np.ndarray], mine: Sequence[np.ndarray]) -> str:
    found = [statistics.difference(one, other) for one, other in zip(plain, mine)]
    points = np.array([f.points for f in found])
    reach = np.array([(f.high - f.low) / 2 for f in found])
    mean, low, high, _ = statistics.over_seeds(points, reach, len(plain[0]))
    return f"{mean:+.2f} points ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    main()
