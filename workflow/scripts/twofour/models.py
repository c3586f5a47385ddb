"""The models of a run: one table, written as ``models.json`` and read by whatever displays them.

``dense``, ``pruned`` and ``sparse``; where the config's ``sparsity.algorithm`` is a list, each
algorithm is a branch with models of its own, such as ``pruned/mask_1d`` and ``sparse/mask_1d``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .system import files
from .system.errors import TwoFourError

DENSE, PRUNED, SPARSE = "dense", "pruned", "sparse"
TRAINING, PRUNING = "training", "pruning"  # how models are made
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
COLOURS = {DENSE: "#0072B2", PRUNED: "#999999", SPARSE: "#D55E00"}


@dataclass(frozen=True)
class Model:
    """A model of a run.

    ``name`` is its folder below results/<run>/ and its name in tables; ``parent`` the model that it
    is made from; ``kind`` what it is; ``made`` how; ``branch`` the algorithm that distinguishes it
    from others of its kind, "" where there is only one; ``colour`` its colour in plots;
    ``promise`` the model whose sparsity.json says which of its layers are 2:4 sparse, None where
    none is.
    """

    name: str
    parent: str | None
    kind: str
    made: str
    branch: str
    colour: str
    promise: str | None = None


def branches(algorithm: str | Sequence[str]) -> dict[str, str]:
    """Suffix of "pruned" and "sparse" in the names of models → the algorithm it stands for."""
    if isinstance(algorithm, str):
        return {"": algorithm}
    return {f"/{name}": name for name in algorithm}


def table(algorithm: str | Sequence[str]) -> list[Model]:
    """All models of a run with this ``sparsity.algorithm``, parents first."""
    rows = [Model(DENSE, None, DENSE, TRAINING, "", COLOURS[DENSE])]
    for suffix in branches(algorithm):
        branch, pruned = suffix[1:], PRUNED + suffix
        rows += [
            Model(pruned, DENSE, PRUNED, PRUNING, branch, COLOURS[PRUNED], pruned),
            Model(SPARSE + suffix, pruned, SPARSE, TRAINING, branch, COLOURS[SPARSE], pruned),
        ]
    return rows


def of_kind(models: Iterable[Model], kind: str) -> list[Model]:
    """Those of ``models`` that are of this ``kind``."""
    return [model for model in models if model.kind == kind]


def by_name(models: Iterable[Model]) -> dict[str, Model]:
    """{name: model}."""
    return {model.name: model for model in models}


def write(path: files.PathLike, models: Iterable[Model]) -> None:
    """Write the table as JSON."""
    files.write_json(path, [asdict(model) for model in models])


def read(path: files.PathLike) -> list[Model]:
    """Read what :func:`write` wrote."""
    try:
        return [Model(**row) for row in files.read_json(path)]
    except TypeError as error:
        raise TwoFourError(f"{Path(path)} is not a table of models: {error}") from error
