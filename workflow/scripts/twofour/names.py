"""The models of a run: what they are called, and in which order they are made and shown.

``dense``, ``pruned`` and ``sparse``; where the config's ``sparsity.algorithm`` is a list, each
algorithm is a branch with models of its own, such as ``pruned/mask_1d`` and ``sparse/mask_1d``.
"""

from __future__ import annotations

from collections.abc import Sequence

DENSE, PRUNED, SPARSE = KINDS = ("dense", "pruned", "sparse")


def branches(algorithm: str | Sequence[str]) -> dict[str, str]:
    """What follows "pruned" and "sparse" in the names of models → the algorithm it stands for."""
    if isinstance(algorithm, str):
        return {"": algorithm}
    return {f"/{name}": name for name in algorithm}


def models(algorithm: str | Sequence[str]) -> list[str]:
    """All models of a run with this ``sparsity.algorithm``."""
    pairs = [(PRUNED + branch, SPARSE + branch) for branch in branches(algorithm)]
    return [DENSE, *(model for pair in pairs for model in pair)]


def kind(model: str) -> str:
    """Which of KINDS the model is."""
    return model.partition("/")[0]


def branch(model: str) -> str:
    """The branch that the model belongs to: "/mask_1d", or "" where there is only one."""
    return model[len(kind(model)) :]
