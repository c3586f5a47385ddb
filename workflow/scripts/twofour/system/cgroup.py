"""How much processor time a container or a service may use (control groups of Linux)."""

from __future__ import annotations

import math
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


def cores(membership: Path = _MEMBERSHIP, mounted: Path = _MOUNTED) -> int | None:
    """Whole cores of this process's quota (docker --cpus=1.5 gives 2), or None without one.

    That is the least of its control group and all above it, in version 2 (cpu.max) or 1
    (cpu.cfs_quota_us and cpu.cfs_period_us).
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            read, roots = _version2, [mounted, mounted / "unified"]
        elif "cpu" in controllers.split(","):
            read, roots = _version1, [mounted / controllers, mounted / "cpu"]
        else:
            continue
        # In a container the path may be the host's, and the mounted folder its own group.
        parts = Path(path.lstrip("/")).parts
        for root in roots:
            folders = [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
            quotas += [quota for folder in folders if (quota := read(folder)) is not None]
    return max(1, math.ceil(min(quotas))) if quotas else None


def _version2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _version1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8"))
        return quota / period if quota > 0 and period > 0 else None
    except (OSError, ValueError):
        return None
