"""Memory: what is free, and whether the kernel has ended processes for want of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import cgroup

_MEMINFO = Path("/proc/meminfo")
_SLURM = "SLURM_MEM_PER_NODE"  # of a job, in MiB


def free(meminfo: Path = _MEMINFO) -> float | None:
    """Bytes of memory that this process could still use, or None where nothing says so.

    The least of what the machine has available, what its control groups allow (a container, a
    service, most batch systems) and what a SLURM job asked for. Swap does not count: a training
    would take years in it.
    """
    found: list[float | None] = [cgroup.free_memory()]
    try:
        available = re.search(
            r"^MemAvailable: *(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE
        )
    except OSError:
        available = None
    if available is not None:
        found.append(1024 * int(available[1]))
    if (asked := os.environ.get(_SLURM, "")).isdigit() and int(asked) > 0:
        found.append(int(asked) << 20)
    return min((value for value in found if value is not None), default=None)


def oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory since the machine started.

    From /proc/vmstat (proc(5), since Linux 4.13); None where it does not say.
    """
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def killed_by(before: int | None, training: bool) -> str:
    """What has probably killed a process with SIGKILL; ``before`` is oom_kills() at its start."""
    after = oom_kills()
    remedy = (
        f"{'lower train.batch_size, or ' if training else ''}end other programs; what is saved is "
        "kept"
    )
    if before is None or after is None:
        return f"it was killed from outside (SIGKILL), most often for want of memory: {remedy}"
    if after > before:
        return f"the kernel probably killed it, since the memory was used up: {remedy}"
    return (
        "it was killed from outside (SIGKILL), and not by the kernel for want of memory: by a "
        "user, a batch system's limit, or a service that watches memory"
    )
