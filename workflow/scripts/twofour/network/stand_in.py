"""Weights that stand in for trained ones where only speed matters, before any training."""

from __future__ import annotations

import numpy as np

from .architecture import Architecture

_LAST = 0.25  # of a block's last batch norm: without it sums grow from block to block


def random_state(network: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights and statistics of ``network`` with which its activations keep an ordinary size.

    Convolutions are drawn by He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    rng = np.random.default_rng(seed)
    last = {f"{block.convs[-1].norm}.weight" for block in network.blocks}
    state = {}
    for name, shape in network.state.items():
        part = name.rpartition(".")[2]
        if len(shape) > 1:
            inputs = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
            state[name] = rng.standard_normal(shape) * np.sqrt(2 / inputs)
        elif part in ("weight", "variance"):
            state[name] = np.full(shape, _LAST if name in last else 1.0)
        else:
            state[name] = np.zeros(shape)
    return {name: array.astype(np.float32) for name, array in state.items()}
