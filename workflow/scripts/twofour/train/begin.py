"""What a training starts from: random weights, those of a file, or pruned ones with their masks."""

from __future__ import annotations

from pathlib import Path

from ..artifacts import MASKS, SPARSITY, WEIGHTS
from ..network import weights
from ..network.architecture import Architecture
from ..sparse import layers, masks, pattern
from ..system.files import read_json, sha256, write_json
from .plan import Start


def from_weights(path: str | None, network: Architecture) -> Start:
    """A dense training, from the weights in the file ``path``, or from random ones for None."""
    if path is None:
        return Start()
    initial = weights.initial(path, network)
    return Start(initial, {}, {"start": sha256(path)})


def from_pruned(folder: Path, network: Architecture, teacher: Path | None = None) -> Start:
    """A sparse training, from the pruning stage's artifacts in ``folder``.

    It also learns from the dense network whose weights are in the file ``teacher``.
    """
    path = folder / WEIGHTS
    names = list(network.state)
    pruned, kept = weights.load(path), masks.load(folder / MASKS)
    pattern.require(pruned, kept, str(path))
    weights.require(pruned, names, "the starting weights")
    identity = {"start": {name: sha256(folder / name) for name in (WEIGHTS, MASKS)}}
    taught = None
    if teacher is not None:
        dense = weights.load(teacher)
        weights.require_shapes(dense, network.state, teacher)
        taught = {name: dense[name] for name in names}
        identity["teacher"] = {WEIGHTS: sha256(teacher)}
    return Start({name: pruned[name] for name in names}, kept, identity, teacher=taught)


def report_sparsity(folder: Path, kept, out: Path) -> None:
    """Write sparsity.json of the network trained into ``out``, which started from ``folder``.

    Raises TwoFourError if the trained weights break 2:4 where there is a mask (``kept``).
    """
    choices = layers.choices(read_json(folder / SPARSITY))
    trained = weights.load(out / WEIGHTS)
    pattern.require(trained, kept, str(out / WEIGHTS))
    write_json(out / SPARSITY, layers.report(trained, choices))
