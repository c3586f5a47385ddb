"""Which GPUs a library holds code for, read from the library itself.

CUDA's compiler puts code into the ELF section .nv_fatbin: containers, begun by a magic number, of
entries with a kind (1 PTX, which any later GPU can compile, 2 machine code) and an architecture.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = 0xBA55ED50
_PTX, _MACHINE_CODE = 1, 2
_ARCHITECTURE = 28  # offset in an entry's header


def architectures(path: Path) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Compute capabilities {(8, 0), …} for which ``path`` has machine code, and for which PTX.

    Both are empty for a file that is not 64-bit ELF or holds no code for GPUs.
    """
    found: dict[int, set[tuple[int, int]]] = {_PTX: set(), _MACHINE_CODE: set()}
    with path.open("rb") as file:
        if file.read(5) != b"\x7fELF\x02":
            return set(), set()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for kind, architecture in _entries(content):
                if kind in found:
                    found[kind].add(divmod(architecture, 10))
    return found[_MACHINE_CODE], found[_PTX]


def fits(code: set, ptx: set, capability: tuple[int, int]) -> bool:
    """Whether a GPU of this compute capability can run what :func:`architectures` has found.

    Machine code runs on GPUs of the same major number and the same or a higher minor one.
    """
    same = any(major == capability[0] and minor <= capability[1] for major, minor in code)
    return same or any(version <= capability for version in ptx)


def listed(code: set[tuple[int, int]]) -> str:
    """Compute capabilities in words: 7.5, 8.0."""
    return ", ".join(f"{major}.{minor}" for major, minor in sorted(code))


def _entries(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    for start, size in _sections(content, b".nv_fatbin"):
        at, end = start, start + size
        while at < end - 16:
            magic, _, header, length = struct.unpack_from("<IHHQ", content, at)
            if magic != _MAGIC:  # padding between two containers
                at += 8
                continue
            entry, stop = at + header, min(at + header + length, end)
            while entry < stop - _ARCHITECTURE - 4:
                kind, _, header, length = struct.unpack_from("<HHIQ", content, entry)
                if header + length == 0:
                    break
                (architecture,) = struct.unpack_from("<I", content, entry + _ARCHITECTURE)
                yield kind, architecture
                entry += header + length
            at = max(stop, at + 8)


def _sections(content: mmap.mmap, name: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of the ELF sections called ``name``."""
    (table,) = struct.unpack_from("<Q", content, 0x28)
    size, count, names = struct.unpack_from("<HHH", content, 0x3A)
    (texts,) = struct.unpack_from("<Q", content, table + names * size + 0x18)
    for index in range(count):
        text, _, _, _, offset, length = struct.unpack_from("<IIQQQQ", content, table + index * size)
        if content[texts + text : content.find(b"\0", texts + text)] == name:
            yield offset, length
