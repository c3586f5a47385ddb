"""Where the images come from, by ``data.source``: one place for what differs between the kinds."""

from __future__ import annotations

from . import shards, tree
from .settings import Data
from .tree import Entry

# Training images, validation images and classes of what need not be looked at.
_KNOWN = {"digits": (1437, 360, 10), "ilsvrc2012": (1_281_167, 50_000, 1000)}


def entries(
    data: Data, root: str, workers: int, flat_val: dict[str, str] | None = None
) -> tuple[list[Entry], dict[str, str]]:
    """All images in ``root`` with their splits and classes, and {class: its readable name}.

    For ``flat_val`` see :func:`tree.scan`. Raises TwoFourError as that and :func:`shards.scan` do.
    """
    if data.source == "shards":
        return shards.scan(root, workers)
    return tree.scan(root, flat_val), {}


def count(data: Data) -> tuple[int, int, int]:
    """Training images, validation images and classes, as far as they are known without a check.

    Raises TwoFourError as :func:`entries` does.
    """
    if data.source in _KNOWN:
        return _KNOWN[data.source]
    root = tree.require_root(data)
    if data.source == "shards":
        return shards.count(root, data.val_fraction)
    listed = tree.scan(root)
    classes = len({entry.label for entry in listed})
    held = sum(entry.split == "val" for entry in listed)
    if not any(entry.split for entry in listed):
        held = round(data.val_fraction * len(listed))
    return len(listed) - held, held, max(2, classes)
