"""The models of a run: one table, written as ``models.json`` and read by whatever displays them.

``dense``, and for each of ``sparsity.algorithm`` in the config a branch with models of its own:
``pruned`` and ``sparse`` for mask_1d, ``pruned/mask_2d_best`` and ``sparse/mask_2d_best`` for
another. A branch has the same name whatever stands beside it, so that one more algorithm reruns
nothing of those that exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .artifacts import INT8
from .system import files
from .system.errors import TwoFourError

# Kinds of models
DENSE, CONTROL, PRUNED, SPARSE, QAT = "dense", "control", "pruned", "sparse", "qat"
RIVAL = "rival"  # also the folder of such models
MORE = "dense_more"  # the name of the control
LEARNT = "_qat"  # what follows the name of a model in that of its twin that learnt to be rounded
_HEAD = re.compile(r"seed\d+/")
PLAIN = "mask_1d"  # the algorithm whose models have plain names
TRAINING, PRUNING, GIVEN = "training", "pruning", "given"  # how models are made
_CONTROL = "the dense network, trained on for as many epochs as the sparse one"
_DISTILLED = "retrained to match the probabilities of the dense model, too (distillation)"
_QAT = "the {} network, trained on while its weights and activations are rounded"
_BEST = "the epoch that is best on the validation images, so that its accuracy is a little too high"
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
COLOURS = {DENSE: "#0072B2", CONTROL: "#56B4E9", PRUNED: "#999999", SPARSE: "#D55E00"}
_RIVALS = ("#E69F00", "#F0E442", "#000000")
_RIVAL = "a dense {}, trained like the dense one from random weights"
_TWINS = {DENSE: "#009E73", SPARSE: "#CC79A7"}


@dataclass(frozen=True)
class Model:
    """A model of a run.

    ``name`` is its folder below results/<run>/ and its name in tables; ``parent`` the model that it
    is made from; ``kind`` what it is; ``made`` how; ``branch`` the algorithm that distinguishes it
    from others of its kind, "" where there is only one; ``colour`` its colour in plots;
    ``promise`` the model whose sparsity.json says which of its layers are 2:4 sparse, None where
    none is; ``file`` the file that it was given in; ``note`` what the reader of its figures must
    know, a sentence or ""; ``seed`` the one that it was trained with, None if
    there is only one.
    """

    name: str
    parent: str | None
    kind: str
    made: str
    branch: str
    colour: str
    promise: str | None = None
    file: str | None = None
    note: str = ""
    seed: int | None = None

    @property
    def head(self) -> str:
        """What its name begins with if it is of a further seed: "seed2/", else ""."""
        found = _HEAD.match(self.name)
        return found[0] if found else ""

    def measured_in(self, precision: str) -> bool:
        """Whether it is evaluated and measured in ``precision``."""
        return self.kind != QAT or precision == INT8

    @property
    def twin_of_sparse(self) -> bool:
        """Whether it is the quantisation-aware twin of a sparse network."""
        return self.kind == QAT and self.promise is not None

    @property
    def distilled(self) -> bool:
        """Whether it also learnt from the dense model."""
        return _DISTILLED in self.note


def branches(algorithm: str | Sequence[str]) -> dict[str, str]:
    """Suffix of "pruned" and "sparse" in the names of models → the algorithm it stands for."""
    names = [algorithm] if isinstance(algorithm, str) else algorithm
    return {"" if name == PLAIN else f"/{name}": name for name in names}


def heads(seeds: Sequence[int]) -> dict[str, int]:
    """What names of models begin with → the seed; nothing for the first, so that it is as alone."""
    return {f"seed{seed}/" if number else "": seed for number, seed in enumerate(seeds)}


def table(
    algorithm: str | Sequence[str],
    dense: str | None = None,
    distilled: bool = False,
    best_epoch: bool = False,
    control: bool = False,
    seeds: Sequence[int] = (1,),
    qat: bool = False,
    rivals: Sequence[Mapping] = (),
) -> list[Model]:
    """All models of a run, parents first, seed by seed.

    By ``sparsity.algorithm``, ``dense.weights``, and whether the sparse networks also learn from
    the dense one (``train.distill``), the best epoch is kept (``train.keep``), the dense
    network is trained on for as long as the sparse one (``dense.control``), dense and sparse
    networks have twins that learn to be rounded (``quantization.method``), and what the
    ``rivals`` differ in.
    """
    made, file, note = TRAINING, None, _BEST if best_epoch else ""
    if dense is not None:
        made, file = GIVEN, Path(dense).name
        note = f"the finished network in {file}, not trained in this run"
    more = "; ".join([_CONTROL, *([_BEST] if best_epoch else [])])
    notes = "; ".join([*([_DISTILLED] if distilled else []), *([_BEST] if best_epoch else [])])
    rows = []
    for head, number in heads(seeds).items():
        seed = number if len(seeds) > 1 else None
        first = head + DENSE
        rows.append(Model(first, None, DENSE, made, "", COLOURS[DENSE], None, file, note, seed))
        if control:
            name, colour = head + MORE, COLOURS[CONTROL]
            rows.append(Model(name, first, CONTROL, TRAINING, "", colour, note=more, seed=seed))
        several = branches(algorithm)
        for suffix, kind in several.items():
            branch, pruned = kind if len(several) > 1 else "", head + PRUNED + suffix
            sparse, colour = head + SPARSE + suffix, COLOURS[SPARSE]
            grey = COLOURS[PRUNED]
            rows += [
                Model(pruned, first, PRUNED, PRUNING, branch, grey, pruned, seed=seed),
                Model(
                    sparse, pruned, SPARSE, TRAINING, branch, colour, pruned, note=notes, seed=seed
                ),
            ]
        for kind, suffix in [(DENSE, ""), *((SPARSE, s) for s in several)] if qat else ():
            branch = several[suffix] if kind == SPARSE and len(several) > 1 else ""
            twin, parent = head + kind + LEARNT + suffix, head + kind + suffix
            promise = head + PRUNED + suffix if kind == SPARSE else None
            note, colour = _QAT.format(kind), _TWINS[kind]
            rows.append(
                Model(twin, parent, QAT, TRAINING, branch, colour, promise, note=note, seed=seed)
            )
        for number, given in enumerate(rivals):
            name, note = head + rival_name(given), _RIVAL.format(rival_words(given))
            if best_epoch:
                note = f"{note}; {_BEST}"
            colour = _RIVALS[number % len(_RIVALS)]
            rows.append(Model(name, None, RIVAL, TRAINING, "", colour, note=note, seed=seed))
    return rows


def rival_name(given: Mapping) -> str:
    """The name of a rival by what it differs in: {"width": 0.75} → "rival/width0.75"."""
    parts = []
    for key in ("name", "width", "blocks"):
        if key in given:
            value = given[key]
            text = "-".join(map(str, value)) if isinstance(value, list) else f"{value}"
            parts.append(text if key == "name" else f"{key}{text}")
    return f"{RIVAL}/{'-'.join(parts)}"


def rival_words(given: Mapping) -> str:
    """The same in words: "network with width 0.75"."""
    others = [
        f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in given.items()
        if key != "name"
    ]
    what = str(given.get("name", "network"))
    return f"{what} with {' and '.join(others)}" if others else what


def in_case(models: Iterable[Model], precision: str) -> list[Model]:
    """Those of ``models`` that are evaluated and measured in ``precision``."""
    return [model for model in models if model.measured_in(precision)]


def previewed(models: Iterable[Model]) -> list[Model]:
    """Those whose speed can be told before any training: dense, rivals, last the first pruned."""
    first = of_first_seed(models)
    return [*of_kind(first, DENSE), *of_kind(first, RIVAL), of_kind(first, PRUNED)[0]]


def of_first_seed(models: Iterable[Model]) -> list[Model]:
    """Those of ``models`` that are of the first seed: they alone are measured for speed."""
    return [model for model in models if not model.head]


def seeds(given: int | Sequence[int]) -> list[int]:
    """The key ``seed`` of the configuration as a list."""
    return [given] if isinstance(given, int) else list(given)


def of_run(settings: Any) -> list[Model]:
    """The table of a run with these ``settings``, a configuration."""
    train = settings.train
    return table(
        settings.sparsity.algorithm,
        settings.dense.weights,
        distilled=train.distill > 0,
        best_epoch=train.keep == "best",
        control=settings.dense.control,
        seeds=seeds(settings.seed),
        qat=settings.quantization.method == "qat",
        rivals=[given["model"] for given in settings.rivals],
    )


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
