#!/usr/bin/env python3
"""Time each mask algorithm on all of ResNet50, and Paddle's own on the same weights, in turns.

    python benchmarks/masks.py --out masks.json

Weights are random; the time does not depend on their values. Paddle's algorithms take minutes each,
so by default they see every k-th layer of each shape, and their time is scaled by the weights; the
whole network, without scaling, takes --whole.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from twofour import architecture, config, hardware, pruning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of ours, whole network each")
    parser.add_argument("--whole", action="store_true", help="give Paddle the whole network, too")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON")
    options = parser.parse_args()
    hardware.start({"device": "cpu", "threads": "auto"})
    from paddle.incubate import asp

    network = architecture.resnet(config.validated({})["model"], 1000)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype(np.float32) for s in network.weights.values()]
    size = sum(w.size for w in weights)
    sample = weights if options.whole else [w for w in weights if w.size < 100_000]
    share = sum(w.size for w in sample) / size
    magnitude = sum(float(np.abs(w).sum(dtype=np.float64)) for w in weights)
    results = {}
    for name, mask in pruning.ALGORITHMS.items():
        algorithm = asp.MaskAlgo[name.upper()]
        # Paddle prunes the transposed weight; its create_mask knows OIHW as [W, H, I, O].
        paddle_s = _seconds(lambda w, a=algorithm: asp.create_mask(w.T, a, 2, 4), sample) / share
        times = [_seconds(mask, weights) for _ in range(options.rounds)]
        kept = sum(float(np.abs(w[mask(w)]).sum(dtype=np.float64)) for w in weights)
        results[name] = {
            "ours_s": statistics.median(times),
            "ours_rounds_s": times,
            "paddle_s": paddle_s,
            "paddle_share_measured": share,
            "ratio": paddle_s / statistics.median(times),
            "kept_magnitude": kept / magnitude,
        }
        r = results[name]
        print(
            f"{name}: ours {r['ours_s']:.2f} s, Paddle {paddle_s:.0f} s "
            f"({100 * share:.0f} % of it measured), {r['ratio']:.0f} ×; "
            f"kept magnitude {r['kept_magnitude']:.3f}",
            flush=True,
        )
    if options.out:
        Path(options.out).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _seconds(function, weights) -> float:
    start = time.perf_counter()
    for weight in weights:
        function(weight)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
