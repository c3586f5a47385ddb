"""Memory: what is free, and whether the kernel has ended processes for want of it."""

from __future__ import annotations

from pathlib import Path


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


def killed_by(before: int | None) -> str:
    """What has probably killed a process with SIGKILL; ``before`` is an earlier oom_kills()."""
    after = oom_kills()
    remedy = "lower train.batch_size, or end other programs; what is saved is kept"
    if before is None or after is None:
        return f"it was killed from outside (SIGKILL), most often for want of memory: {remedy}"
    if after > before:
        return f"the kernel killed it because the memory was used up: {remedy}"
    return (
        "it was killed from outside (SIGKILL), and not by the kernel for want of memory: by a "
        "user, a batch system's limit, or a service that watches memory"
    )
