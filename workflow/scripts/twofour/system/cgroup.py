"""How much processor time and memory a container or a service may use (control groups of Linux)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


def cores(membership: Path = _MEMBERSHIP, mounted: Path = _MOUNTED) -> int | None:
    """Whole cores of this process's quota (docker --cpus=1.5 gives 2), or None without one.

    That is the least of its control group and all above it, in version 2 (cpu.max) or 1
    (cpu.cfs_quota_us and cpu.cfs_period_us).
    """
    quotas = _least(membership, mounted, "cpu", _quota2, _quota1)
    return None if quotas is None else max(1, math.ceil(quotas))


def free_memory(membership: Path = _MEMBERSHIP, mounted: Path = _MOUNTED) -> float | None:
    """Bytes that this process's group may still use, or None without a limit (docker --memory=8g).

    That is the least of its control group and all above it, in version 2 (memory.max) or 1
    (memory.limit_in_bytes). What the kernel can give back, cached files, counts as free.
    """
    return _least(membership, mounted, "memory", _memory2, _memory1)


def _least(
    membership: Path,
    mounted: Path,
    controller: str,
    version2: Callable[[Path], float | None],
    version1: Callable[[Path], float | None],
) -> float | None:
    """The least of what the process's groups and all above them allow; None without a limit."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            read, roots = version2, [mounted, mounted / "unified"]
        elif controller in controllers.split(","):
            read, roots = version1, [mounted / controllers, mounted / controller]
        else:
            continue
        # In a container the path may be the host's, and the mounted folder its own group.
        parts = Path(path.lstrip("/")).parts
        for root in roots:
            folders = [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
            found += [value for folder in folders if (value := read(folder)) is not None]
    return min(found, default=None)


def _quota2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
        return quota / period if quota > 0 and period > 0 else None
    except (OSError, ValueError):
        return None


def _memory2(folder: Path) -> float | None:
    try:
        limit = (folder / "memory.max").read_text(encoding="utf-8").strip()
        used = int((folder / "memory.current").read_text(encoding="utf-8"))
        return None if limit == "max" else int(limit) - used + _cached(folder)
    except (OSError, ValueError):
        return None


def _memory1(folder: Path) -> float | None:
    try:
        limit = int((folder / "memory.limit_in_bytes").read_text(encoding="utf-8"))
        used = int((folder / "memory.usage_in_bytes").read_text(encoding="utf-8"))
        # Without a limit it is the largest multiple of the page size.
        return None if limit >= 1 << 60 else limit - used + _cached(folder, "total_")
    except (OSError, ValueError):
        return None


def _cached(folder: Path, prefix: str = "") -> int:
    """Bytes in memory.stat that the kernel gives back: cached files, and tables of its own."""
    lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    wanted = {prefix + name for name in ("inactive_file", "active_file", "slab_reclaimable")}
    return sum(int(value) for key, _, value in (s.partition(" ") for s in lines) if key in wanted)
