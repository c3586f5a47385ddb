#!/usr/bin/env python3
"""Time the channel permutation search on all of ResNet50, against the limit of 2 minutes.

    python benchmarks/permutation.py

Weights are log-normal in magnitude, with no structure to find, so the gain here is a lower
bound; the time does not depend on it.
"""

from __future__ import annotations

import time

from twofour import config
from twofour.network import architecture
from twofour.sparse import layers, pattern, permute, prune

import numpy as np

LIMIT_S = 120


def main() -> None:
    settings = config.validated({})
    network = architecture.resnet(settings.model, 1000)
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.standard_normal(s) * rng.lognormal(0, 0.5, s)).astype(np.float32)
        for name, s in network.weights.items()
    }

    names = layers.chosen(
        layers.choose(network.weights, settings.sparsity.include, settings.sparsity.exclude)
    )
    start = time.perf_counter()
    orders = permute.find(network, weights, names, seed=1)
    seconds = time.perf_counter() - start
    kept = []
    for state in (weights, permute.apply(network, weights, orders)):
        pruned, _ = prune.prune(state, names, "mask_1d")
        kept.append(pattern.kept_magnitude(pruned, state, names))
    print(
        f"{seconds:.0f} s ({seconds / LIMIT_S:.2f} of the limit), kept magnitude by mask_1d "
        f"{kept[0]:.4f} → {kept[1]:.4f}"
    )


if __name__ == "__main__":
    main()
