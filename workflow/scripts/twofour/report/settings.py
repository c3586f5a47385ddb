"""The section ``accept`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..system.sections import Section, key


@dataclass(frozen=True, repr=False)
class Accept(Section):
    """When a run counts as failed although every job succeeded."""

    max_top1_drop: float | None = key(
        None,
        "most points of top-1 accuracy that the sparse model may lose before the run fails (after "
        "the table is written); null for no limit",
        minimum=0,
        maximum=100,
    )
    judge: Literal["point", "bound"] = key(
        "point",
        "what accept.max_top1_drop is compared with: the drop that was measured (point), or the "
        "most that the 95 % interval leaves open (bound)",
    )


@dataclass(frozen=True, repr=False)
class Release(Section):
    """What is handed on of the models."""

    license: str | None = key(
        None,
        "licence of the models, for their cards: its SPDX identifier, such as apache-2.0; null "
        "leaves it open",
        schema={"type": ["string", "null"], "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
    )
    preprocessing: bool = key(
        True,
        "also write an ONNX file with resizing, crop and normalisation inside, which takes decoded "
        "images",
    )
