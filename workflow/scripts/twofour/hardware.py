"""What the machine has, and what of it a job uses. Importable without any deep-learning library."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import TwoFourError

# What training can do so far on each kind of device, best first. Mixed precision is not built yet.
TRAINING_PRECISIONS = {"cpu": ("fp32",), "gpu": ("fp32",)}


@dataclass(frozen=True)
class Hardware:
    """What a job runs on: device ("cpu" or "gpu"), its name, threads per process."""

    device: str
    name: str
    threads: int


def cores() -> int:
    """Processor cores that this process may use (a batch system may allow fewer than exist)."""
    return len(os.sched_getaffinity(0))


def threads(setting: str | int) -> int:
    """Number of threads for the config's ``hardware.threads``."""
    return cores() if setting == "auto" else int(setting)


def cpu_name() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpus() -> list[dict[str, str]]:
    """Name, driver version and compute capability of each NVIDIA GPU; empty where there is none."""
    fields = ("name", "driver_version", "compute_cap")
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode != 0:
        return []
    rows = [line.split(", ") for line in answer.stdout.strip().splitlines()]
    return [dict(zip(fields, row)) for row in rows if len(row) == len(fields)]


def resolve(settings: dict) -> Hardware:
    """The hardware for the config's section ``hardware``.

    ``device: auto`` takes a GPU if there is one and PaddlePaddle was built for GPUs.
    Raises TwoFourError if a GPU is asked for by name and cannot be used.
    """
    number = threads(settings["threads"])
    if settings["device"] != "cpu":
        found = gpus()
        built = bool(found) and _paddle_has_cuda()
        if found and built:
            return Hardware("gpu", found[0]["name"], number)
        if settings["device"] == "gpu":
            lacks = (
                "the installed PaddlePaddle was built without CUDA"
                if found
                else "nvidia-smi finds no GPU on this machine"
            )
            raise TwoFourError(f"hardware.device is gpu, but {lacks}; set it to auto or cpu")
    return Hardware("cpu", cpu_name(), number)


def precision(setting: str, device: str) -> str:
    """The precision that training uses for the config's ``train.precision``.

    Raises TwoFourError if one is asked for by name that the device cannot do.
    """
    offered = TRAINING_PRECISIONS[device]
    if setting == "auto":
        return offered[0]
    if setting not in offered:
        raise TwoFourError(
            f"train.precision is {setting}, but training on the {device} can do only "
            f"{', '.join(offered)}; set it to auto or one of these"
        )
    return setting


def start(settings: dict) -> Hardware:
    """Load PaddlePaddle with the number of threads that the section ``hardware`` asks for.

    The math libraries read that number once, when they are loaded: call this before anything else
    imports PaddlePaddle. Returns the resolved hardware.
    """
    number = str(threads(settings["threads"]))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = number
    import_paddle()
    return resolve(settings)


def import_paddle() -> None:
    """Load PaddlePaddle, quietly, and without its signal handlers.

    These print pages where a job is told to stop, and can hang in it; so until they are switched
    off, signals wait.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")  # its own notices
    waiting = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it warns of any number of threads above 1
            import paddle
        paddle.disable_signal_handler()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _paddle_has_cuda() -> bool:
    import paddle

    return paddle.is_compiled_with_cuda()
