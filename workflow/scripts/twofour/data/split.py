"""Which images of a folder with one split are for validation."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping

from ..system.errors import TwoFourError
from .tree import Entry, shown

_RANGE = 2**64


def split_validation(
    entries: list[Entry], digests: Mapping[str, bytes], fraction: float, seed: int
) -> list[Entry]:
    """Assign about ``fraction`` of the images to "val" and the rest to "train".

    An image's side follows from its pixels (``digests`` by path) and the ``seed`` alone, so it
    keeps that side whatever else is added to or removed from the folder, and copies are on the
    same side. The share is therefore met on average, with a standard deviation of
    sqrt(fraction · (1 - fraction) / n). Each class has at least one image on either side. Raises
    TwoFourError for a class of which all images are the same.
    """
    groups: dict[str, dict[bytes, int]] = collections.defaultdict(dict)
    for entry in entries:
        digest = digests[entry.path]
        groups[entry.label][digest] = _place(digest, seed)
    limit = fraction * _RANGE
    chosen: dict[str, set[bytes]] = {}
    for label, places in groups.items():
        if len(places) < 2:
            raise TwoFourError(
                f"class {shown(label)!r} has only one usable image, which cannot be split into "
                "training and validation; add images or make a val folder"
            )
        inside = {digest for digest, place in places.items() if place < limit}
        first, last = min(places, key=places.__getitem__), max(places, key=places.__getitem__)
        chosen[label] = (inside | {first}) - {last}
    return [
        Entry(
            "val" if digests[entry.path] in chosen[entry.label] else "train",
            entry.label,
            entry.path,
        )
        for entry in entries
    ]


def _place(digest: bytes, seed: int) -> int:
    """A number from 0 to 2^64 - 1, as if drawn for this image with this seed."""
    hashed = hashlib.blake2b(digest, digest_size=8, key=str(seed).encode())
    return int.from_bytes(hashed.digest(), "big")
