"""The section ``model`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..system.sections import Section, key, schema


@dataclass(frozen=True, repr=False)
class Model(Section):
    """Which network."""

    name: Literal[
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "wide_resnet50_2",
        "wide_resnet101_2",
    ] = key(
        "resnet50",
        "the network; resnet50 and deeper have bottleneck blocks with the stride in the 3×3 "
        "convolution (v1.5), wide ones with twice the channels inside",
    )
    width: float = key(
        1.0,
        "factor on the number of channels of every layer (rounded to multiples of 8)",
        minimum=0.05,
        maximum=4,
    )
    blocks: list[int] | None = key(
        None,
        "residual blocks in each of the four stages; null takes the named network's",
        minItems=4,
        maxItems=4,
        items={"minimum": 1, "maximum": 100},
    )
    input_channels: Literal[3, 4] = key(
        3,
        "channels of the network's input; 4 adds one of zeros, which suits tensor cores better "
        "than 3",
    )


def changes() -> dict:
    """The JSON schema of what a rival of the network differs in."""
    known = {
        name: {key: value for key, value in node.items() if key not in ("default", "description")}
        for name, node in schema(Model)["properties"].items()
        if name != "input_channels"  # all take the same images
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": known,
    }
