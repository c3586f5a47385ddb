"""What the machine has and a job uses. Importable without any deep-learning library."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import cgroup, environments, fatbin, slurm
from .errors import TwoFourError
from .settings import Hardware

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SELECTED = "FLAGS_selected_gpus"  # paddle.distributed.launch gives each process its GPU


@dataclass(frozen=True)
class Machine:
    """What a job runs on.

    ``device`` ("cpu" or "gpu"), its ``name``, ``threads`` of each process, the number of
    ``processes`` of a training on each of its ``nodes``, the GPU's number ``gpu`` and its compute
    ``capability`` (8, 0).
    """

    device: str
    name: str
    threads: int
    processes: int = 1
    gpu: int = 0
    capability: tuple[int, int] = (0, 0)
    nodes: int = 1

    @property
    def all_processes(self) -> int:
        """Processes of a training on all nodes."""
        return self.processes * self.nodes


def cores() -> int:
    """Processor cores that this process may use.

    A batch system or a container (docker --cpus=1) may allow fewer than exist.
    """
    bound = len(os.sched_getaffinity(0))
    return min(bound, slurm.allotted_cores() or bound, cgroup.cores() or bound)


def threads(setting: str | int, processes: int = 1) -> int:
    """Number of threads of each of ``processes`` for the config's ``hardware.threads``."""
    return max(1, cores() // processes) if setting == "auto" else int(setting)


def cpu_name() -> str:
    """The processor's model name."""
    return _cpu_fact("model name") or platform.processor() or platform.machine()


def integer_instructions() -> set[str]:
    """The processor's instructions that multiply 8-bit integers and add without overflow.

    Libraries compute in int8 without them, too, but less exactly and at half the gain.
    """
    return set(_cpu_fact("flags").split()) & {"avx512_vnni", "avx_vnni", "amx_int8"}


def _cpu_fact(name: str) -> str:
    """What the kernel says about the first processor; "" if nothing."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return ""


def gpus() -> list[dict[str, str]]:
    """Name, driver version, compute capability … of each NVIDIA GPU that this process may use.

    Empty where there is none. CUDA_VISIBLE_DEVICES, as batch systems set it, hides some; for a
    part of a GPU (MIG), the whole GPU is listed.
    """
    fields = ("index", "uuid", "name", "driver_version", "compute_cap", "memory.total")
    answer = _nvidia_smi(f"--query-gpu={','.join(fields)}", "--format=csv,noheader")
    rows = [line.split(", ") for line in answer.splitlines()]
    found = [dict(zip(fields, row)) for row in rows if len(row) == len(fields)]
    chosen = _visible_names()
    if chosen is None:
        return found
    result = []
    parts = _mig_parts() if any(name.startswith("MIG-") for name in chosen) else {}
    for name in chosen:
        whole = parts.get(name, name)
        match = [g for g in found if name and (g["index"] == name or g["uuid"].startswith(whole))]
        if not match:
            break  # as CUDA does: what follows an unknown one is hidden, too
        result.append(match[0])
    return result


def _nvidia_smi(*arguments: str) -> str:
    """What nvidia-smi prints; "" where there is none or it fails."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _mig_parts() -> dict[str, str]:
    """{UUID of a part of a GPU (MIG): UUID of the whole GPU}."""
    parts, whole = {}, ""
    for line in _nvidia_smi("-L").splitlines():
        match = re.search(r"UUID: ([^)\s]+)", line)
        if match and match[1].startswith("MIG-"):
            parts[match[1]] = whole
        elif match:
            whole = match[1]
    return parts


def _visible_names() -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES lists; None if it is not set, so that all GPUs may be used."""
    chosen = os.environ.get(_VISIBLE)
    return None if chosen is None else [name.strip() for name in chosen.split(",")]


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each of :func:`gpus`."""
    found, chosen = gpus(), _visible_names()
    return [gpu["index"] for gpu in found] if chosen is None else chosen[: len(found)]


def resolve(settings: Hardware, training: bool = False) -> Machine:
    """The hardware for the config's section ``hardware``.

    Only a ``training`` has several processes and nodes. ``device: auto`` takes GPUs if there are
    any for which the installed PaddlePaddle has code. Raises TwoFourError if a GPU is asked for by
    name and cannot be used, or if there are fewer.
    """
    nodes = settings.nodes if training else 1
    if settings.device != "cpu":
        found = gpus()
        wanted = settings.gpus if training else 1
        lacks = _why_not(found[:wanted])
        if not lacks:
            if wanted > len(found):
                raise TwoFourError(
                    f"hardware.gpus is {wanted}, but this machine has {len(found)} "
                    f"({found[0]['name']}); set it to at most {len(found)}"
                )
            number = int(os.environ.get(_SELECTED, "0").split(",")[0])
            return Machine(
                "gpu",
                found[number]["name"],
                threads(settings.threads, wanted),
                wanted,
                number,
                capability(found[number]),
                nodes,
            )
        if settings.device == "gpu":
            raise TwoFourError(f"hardware.device is gpu, but {lacks}; or set it to auto or cpu")
    count = settings.cpu_processes if training else 1
    return Machine("cpu", cpu_name(), threads(settings.threads, count), count, nodes=nodes)


def _why_not(found: list[dict[str, str]]) -> str:
    """Why PaddlePaddle cannot use all of the GPUs ``found``, and what to do; "" if it can."""
    if not found:
        return "nvidia-smi finds no GPU that this process may use; run it where there is one"
    if paddle_cuda() is None:
        advice = environments.advice(found[0]["name"], capability(found[0]))
        return f"the installed PaddlePaddle was built without CUDA ({advice})"
    code, ptx = paddle_code()
    foreign = without_code(found, code, ptx)
    if foreign:
        name = foreign[0]["name"]
        return (
            f"the installed PaddlePaddle has no code for {name}, only for {fatbin.listed(code)} "
            f"({environments.advice(name, capability(foreign[0]))})"
        )
    return ""


def without_code(
    found: list[dict[str, str]], code: set[tuple[int, int]], ptx: set[tuple[int, int]]
) -> list[dict[str, str]]:
    """Those of the GPUs ``found`` that cannot run a library which holds ``code`` and ``ptx``.

    None of them where neither could be read.
    """
    if not code and not ptx:
        return []
    return [gpu for gpu in found if not fatbin.fits(code, ptx, capability(gpu))]


def paddle_folder() -> Path | None:
    """Where PaddlePaddle is installed, found without loading it; None if it is not."""
    spec = importlib.util.find_spec("paddle")
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) if folders else None


def paddle_code() -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The compute capabilities for which PaddlePaddle holds machine code, and PTX.

    By its libraries of operators: libpaddle.so in version 2.6, libphi… in version 3.
    """
    folder = paddle_folder()
    if folder is None:
        return set(), set()
    paths = [folder / "base" / "libpaddle.so", *folder.glob("libs/libphi*.so")]
    found = [fatbin.architectures(path) for path in paths if path.is_file()]
    code, ptx = (
        (set().union(*kind) for kind in zip(*found, strict=True)) if found else (set(), set())
    )
    return code, ptx


def paddle_cuda() -> str | None:
    """The version of CUDA that the installed PaddlePaddle was built with; None for CPU builds."""
    return _of_paddle("cuda_version", r"[\d.]+")


def paddle_version() -> str | None:
    """The version of the installed PaddlePaddle, without loading it; None if there is none."""
    return _of_paddle("full_version", "[^']+")


def _of_paddle(name: str, pattern: str) -> str | None:
    folder = paddle_folder()
    try:
        text = (folder / "version" / "__init__.py").read_text(encoding="utf-8") if folder else ""
    except OSError:
        text = ""
    match = re.search(rf"^{name}\s*=\s*'({pattern})'", text, re.MULTILINE)
    return match[1] if match else None


def capability(gpu: dict[str, str]) -> tuple[int, int]:
    """The compute capability (8, 6) of one of :func:`gpus`."""
    major, _, minor = gpu["compute_cap"].partition(".")
    return int(major), int(minor or 0)
