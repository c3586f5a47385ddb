"""Judging whether the layers of a model file, ours or another's, are 2:4 sparse.

Nothing here knows about masks or how a network was pruned: it goes by the numbers in the file and
by what its operators do with them (:mod:`.onnx_file`, :mod:`.paddle_file`). Quantised weights count
as zero where they equal their zero point.

A check is a proof or nothing: every stored tensor that could be a layer's weight is judged, or
named as not judged with the reason, and then the check has not passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..system import patterns
from ..system.errors import TwoFourError
from ..system.files import read_json
from . import layers as chosen_layers
from . import onnx_file, paddle_file, pattern
from .contents import Contents, Layer

KINDS = ".pdparams, .onnx, .pdmodel, or a folder with an exported Paddle model"


@dataclass(frozen=True)
class Verdict:
    """The findings for a layer: its ``groups`` of 4 neighbours, and how many are ``broken``."""

    name: str
    node: str
    operator: str
    shape: tuple[int, ...]
    eligible: bool
    density: float
    groups: int
    broken: int
    required: bool

    @property
    def passed(self) -> bool:
        """Whether the layer is as sparse as it has to be."""
        return not self.required or (self.eligible and self.broken == 0)

    @property
    def words(self) -> str:
        """The verdict in words."""
        if self.eligible and self.broken == 0:
            return "2:4"
        if self.required and self.eligible:
            return f"BREAKS 2:4 in {self.broken} of {self.groups} groups"
        if self.required:
            return "CANNOT be 2:4"
        return "need not be 2:4" if self.eligible else "not eligible"


@dataclass(frozen=True)
class Outcome:
    """The findings for a file: a verdict for each layer, and what could not be judged, and why.

    ``others`` are stored tensors whose use shows that they are no layer's weight.
    """

    path: str
    verdicts: list[Verdict]
    unjudged: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


def judge(path: str, listed: list[str] | None, exclude: list[str]) -> Outcome:
    """Judge the layers of the file ``path``.

    Those ``listed`` must be 2:4 sparse; by default all that can be, and nothing that could be a
    weight may be left unjudged, except what a pattern of ``exclude`` matches by the name of the
    tensor or of its node. Raises TwoFourError if the file lacks a listed layer, or a pattern
    matches nothing.
    """
    contents = read(path)
    names = [layer.name for layer in contents.layers]
    for name in listed or ():
        if name not in names:
            raise TwoFourError(f"{path} has no weight {name}, which should be 2:4 sparse")
    nodes = [layer.node for layer in contents.layers if layer.node]
    patterns.require(exclude, [*names, *nodes, *contents.unjudged], "--exclude", path)
    required = []
    for verdict in check(contents.layers, listed):
        excluded = any(patterns.first_match(n, exclude) for n in (verdict.name, verdict.node) if n)
        if verdict.required and not excluded:
            required.append(verdict.name)
    unjudged = {n: r for n, r in contents.unjudged.items() if not patterns.first_match(n, exclude)}
    if listed is not None:  # then nothing else is promised
        unjudged, others = {}, {**contents.others, **unjudged}
    else:
        others = contents.others
    return Outcome(path, check(contents.layers, required), unjudged, others)


def listed(path: str) -> list[str]:
    """The weights that the sparsity.json at ``path`` calls sparse."""
    report = read_json(path)
    try:
        return chosen_layers.chosen(chosen_layers.choices(report))
    except (KeyError, TypeError) as error:
        raise TwoFourError(f"{path} is not a sparsity.json") from error


def table(outcome: Outcome) -> str:
    """The verdicts on a file as text, one line each; then what was not judged."""
    head = ("layer", "node", "operator", "shape", "eligible", "density", "verdict")
    rows = [head]
    for v in outcome.verdicts:
        shape = "×".join(map(str, v.shape))
        yes = "yes" if v.eligible else "no"
        density = f"{v.density:.3f}"
        rows.append((v.name, v.node, v.operator, shape, yes, density, v.words))
    telling = any(v.node and v.node not in v.name for v in outcome.verdicts)
    columns = [c for c in zip(*rows) if telling or c[0] != "node"]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in zip(*columns)
    ]
    lines += [f"NOT JUDGED  {name}: {reason}" for name, reason in outcome.unjudged.items()]
    return "\n".join([outcome.path, *(f"  {line}" for line in lines)])


def summary(outcome: Outcome) -> str:
    """One sentence on a file."""
    required = sum(v.required for v in outcome.verdicts)
    holding = sum(v.required and v.passed for v in outcome.verdicts)
    count = len(outcome.unjudged)
    left = f"; {count} {'tensor was' if count == 1 else 'tensors were'} not judged" if count else ""
    return (
        f"{outcome.path}: {required} of {len(outcome.verdicts)} layers must be 2:4 sparse, and "
        f"{holding} of them are{left}"
    )


def warnings(outcome: Outcome) -> list[str]:
    """What a reader of the verdicts should know besides."""
    result = []
    if not any(v.eligible for v in outcome.verdicts) and not outcome.unjudged:
        result.append(
            f"{outcome.path}: no layer can be 2:4 sparse, since none has input channels in whole "
            "groups of 4; so nothing has been proven"
        )
    if outcome.others:
        named = "; ".join(f"{name} ({reason})" for name, reason in outcome.others.items())
        result.append(f"{outcome.path}: not judged, and not a layer's weight: {named}")
    return result


def record(outcome: Outcome) -> dict:
    """What check.json holds for a file."""
    rows = [{**asdict(v), "passed": v.passed} for v in outcome.verdicts]
    found = {"not_judged": outcome.unjudged, "not_weights": outcome.others}
    return {"file": outcome.path, "layers": rows, **found}


def check(layers: Iterable[Layer], required: Iterable[str] | None = None) -> list[Verdict]:
    """Judge ``layers``; those named ``required`` must be 2:4 sparse, by default all eligible ones.

    Eligible is a layer whose input channels are a multiple of 4.
    """
    names = None if required is None else set(required)
    verdicts = []
    for layer in layers:
        rows = pattern.groups(layer.weight, layer.axis)
        eligible = layer.weight.shape[layer.axis] % pattern.GROUP == 0
        verdicts.append(
            Verdict(
                name=layer.name,
                node=layer.node,
                operator=layer.operator,
                shape=layer.weight.shape,
                eligible=eligible,
                density=np.count_nonzero(layer.weight) / max(layer.weight.size, 1),
                groups=len(rows),
                broken=int((np.count_nonzero(rows, axis=1) > pattern.KEPT).sum()),
                required=eligible if names is None else layer.name in names,
            )
        )
    return verdicts


def read(path: str | Path) -> Contents:
    """The layers of a model file; TwoFourError if it cannot be read or holds none.

    Takes ``.pdparams`` (where the shape tells the kind of layer: 2 dimensions [in, out] are linear,
    3 to 5 a convolution [out, in, …]), ``.onnx``, and Paddle inference models.
    """
    path = Path(path)
    if not path.exists():
        raise TwoFourError(f"{path} does not exist")
    if path.is_dir():
        models = sorted(path.glob("*.pdmodel"))
        if len(models) != 1:
            known = sorted(p.name for p in path.iterdir() if p.suffix in (".onnx", ".pdparams"))
            what = ", ".join([*(p.name for p in models), *known]) or "no model"
            raise TwoFourError(f"{path} is a folder with {what}; name the file that you mean")
        path = models[0]
    if path.suffix == ".pdiparams":
        path = path.with_suffix(".pdmodel")
    if path.is_file() and path.stat().st_size == 0:
        raise TwoFourError(f"{path} is empty")
    readers = {
        ".pdparams": paddle_file.read_weights,
        ".onnx": onnx_file.read,
        ".pdmodel": paddle_file.read_model,
    }
    if path.suffix.lower() not in readers:
        raise TwoFourError(f"{path} is not a kind of file that can be checked: {KINDS}")
    contents = readers[path.suffix.lower()](path)
    if not contents.layers and not contents.unjudged:
        raise TwoFourError(f"{path} holds no convolution and no linear layer with fixed weights")
    return contents
