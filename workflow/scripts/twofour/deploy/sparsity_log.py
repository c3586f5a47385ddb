"""What TensorRT's builder says about sparse kernels.

TensorRT 8.5 lists layers in two lines (NVIDIA/TensorRT issues 1403, 2169, 4056):
``(Sparsity) Layers eligible for sparse math: a, b`` and
``(Sparsity) TRT inference plan picked sparse implementation for layers: b``.
TensorRT 10 counts them: ``(Sparsity) Found 2 layer(s) eligible to use sparse tactics: a, b`` and
``(Sparsity) Chose 1 layer(s) using sparse tactics: b``; the names may be missing. A builder may
print them more than once; the last ones are about the engine that it returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MARK = "(Sparsity)"

_LINES = {
    "eligible": (
        re.compile(r"\(Sparsity\) Layers eligible for sparse math:(?P<names>.*)"),
        re.compile(
            r"\(Sparsity\) Found (?P<count>\d+) layer\(s\) eligible to use sparse tactics:?"
            r"(?P<names>.*)"
        ),
    ),
    "picked": (
        re.compile(
            r"\(Sparsity\) TRT inference plan picked sparse implementation for layers:(?P<names>.*)"
        ),
        re.compile(
            r"\(Sparsity\) Chose (?P<count>\d+) layer\(s\) using sparse tactics:?(?P<names>.*)"
        ),
    ),
}


def parse(lines: Iterable[str]) -> dict:
    """Layers in a builder's log that could use and that do use sparse kernels.

    Returns ``{"eligible": names, "picked": names, "eligible_count": n, "picked_count": n}``; all
    four are None where the log says nothing, and only the names where it gives just counts.
    """
    result: dict = {"eligible": None, "picked": None, "eligible_count": None, "picked_count": None}
    for line in lines:
        for key, patterns in _LINES.items():
            for pattern in patterns:
                match = pattern.search(line)
                if match is None:
                    continue
                names = [name.strip() for name in match["names"].split(",") if name.strip()]
                count = int(match.groupdict().get("count") or len(names))
                result[key] = names if len(names) == count else None
                result[f"{key}_count"] = count
    return result


def sparse_layers(record: Mapping, layers: Iterable[str]) -> dict[str, tuple[bool, bool]] | None:
    """Which of the network's ``layers`` could use and do use sparse kernels, from build.json.

    Returns {layer: (eligible in some engine, picked in some engine)}, or None where the backend
    does not say. TensorRT fuses layers and joins their names: "layer1.0.conv1 + layer1.0.relu1".
    """
    engines = record.get("engines", {}).values()
    named = [e for e in engines if e["eligible"] is not None and e["picked"] is not None]
    if not named:
        return None
    found = [
        {part for e in named for name in e[key] for part in _parts(name)}
        for key in ("eligible", "picked")
    ]
    return {layer: (layer in found[0], layer in found[1]) for layer in layers}


def layer_times(times: Mapping[str, float], layers: Iterable[str]) -> dict[str, float]:
    """{layer: milliseconds} of those of ``layers`` that an engine's ``times`` name."""
    parts = [(_parts(name), ms) for name, ms in times.items()]
    return {
        layer: sum(ms for names, ms in parts if layer in names)
        for layer in layers
        if any(layer in names for names, _ in parts)
    }


def saved(
    dense: Mapping[str, float], pruned: Mapping[str, float], names: Iterable[str]
) -> dict[str, float]:
    """{weight: milliseconds by which its layer is faster in the second of two engines}.

    By the times of their layers; 0 where an engine has no layer of that name.
    """
    layers = {name.removesuffix(".weight"): name for name in names}
    before, after = (layer_times(times, layers) for times in (dense, pruned))
    return {
        name: before[layer] - after[layer] if layer in before and layer in after else 0.0
        for layer, name in layers.items()
    }


def _parts(name: str) -> list[str]:
    return re.split(r"[\s+|]+", name)
