#!/usr/bin/env python3
"""Each mask algorithm on all of ResNet50 against Paddle's own on the same weights, in turns.

Weights are random; the time does not depend on their values. Paddle's algorithms take half a minute
per round, so the whole takes several minutes.
"""

from __future__ import annotations

import time

from twofour import config
from twofour.network import architecture
from twofour.sparse import masks
from twofour.system import libraries
from twofour.system.settings import Hardware

import numpy as np
import turns


def rows() -> list[dict]:
    libraries.start(Hardware(device="cpu"))
    from paddle.incubate import asp

    network = architecture.resnet(config.validated({}).model, 1000)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype(np.float32) for s in network.weights.values()]
    magnitude = _magnitude(weights)
    found = []
    for name, mask in masks.BY_MAGNITUDE.items():
        algorithm = asp.MaskAlgo[name.upper()]
        times = {"ours": [], "paddle": [], "moving": []}
        for _ in range(turns.ROUNDS):
            times["ours"].append(_seconds(mask, weights))
            times["moving"].append(_seconds(_moved, weights))
            # Paddle prunes the transposed weight; its create_mask expects OIHW as [W, H, I, O].
            times["paddle"].append(
                _seconds(lambda w, a=algorithm: asp.create_mask(w.T, a, 2, 4), weights)
            )
        kept = _magnitude([w[mask(w)] for w in weights]) / magnitude
        speed = {who: [1 / t for t in seconds] for who, seconds in times.items()}
        found.append(
            turns.row(
                "masks",
                f"{name} on ResNet50",
                "networks/s",
                speed["ours"],
                "Paddle's own",
                speed["paddle"],
                (turns.AT_LEAST, 100) if name == "mask_1d" else None,
                seconds=times,
                kept_magnitude=kept,
            )
        )
        if name != "mask_1d":
            found.append(
                turns.row(
                    *("masks", f"{name} on ResNet50", "networks/s", speed["ours"]),
                    *("weights to 4×4 blocks and back, nothing chosen (limit)", speed["moving"]),
                    None,
                )
            )
    return found


def _moved(weight):
    """What every 2-D mask takes before and after its choice."""
    return masks._by_blocks(weight, lambda blocks: blocks > 0)


def _magnitude(weights) -> float:
    return sum(float(np.abs(w).sum(dtype=np.float64)) for w in weights)


def _seconds(function, weights) -> float:
    start = time.perf_counter()
    for weight in weights:
        function(weight)
    return time.perf_counter() - start


if __name__ == "__main__":
    turns.main(__doc__, rows)
