"""Which Python packages are installed; some have several names, one for each CUDA."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

# The names under which the contents of a package also exist.
ALSO = {
    "onnxruntime": ("onnxruntime-gpu",),
    "nvidia-dali-cuda110": ("nvidia-dali-cuda120", "nvidia-dali-cuda130"),
    "tensorrt": ("tensorrt-cu12", "tensorrt-cu13"),
}


def versions(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """{package asked for: {installed under: version}} of those that are installed."""
    found = {}
    for name in names:
        for candidate in (name, *ALSO.get(name, ())):
            try:
                found[name] = {candidate: metadata.version(candidate)}
            except metadata.PackageNotFoundError:
                continue
            break
    return found
