"""What produced a run: code, configuration, packages, machine, and the time of each stage."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..deploy import backends
from ..system import hardware, packages

# Beside what the backends name themselves.
_OTHERS = (
    *("matplotlib", "numpy", "nvidia-dali-cuda110", "onnx", "paddle2onnx", "paddlepaddle-gpu"),
    *("pandas", "pillow", "scikit-learn", "snakemake", "twofour"),
)
_OF_BACKENDS = [package for name in backends.NAMES for package in backends.about(name).packages]
PACKAGES = sorted({*_OTHERS, *_OF_BACKENDS})


def record(
    settings: Mapping[str, Any],
    text: str,
    environment: str | None,
    results: Path,
    repository: Path,
) -> dict[str, Any]:
    """What provenance.json holds for the run in folder ``results``.

    ``settings`` is the whole configuration, ``text`` the same as one line of JSON, ``environment``
    that of the jobs that may use a GPU, if they have one of their own, and ``repository`` the
    folder of the workflow.
    """
    gpus = hardware.gpus()
    if not (repository / "workflow" / "Snakefile").is_file():  # the programs were installed
        repository = Path(os.devnull)
    changed = _git(repository, "status", "--porcelain", "--untracked-files=no") or ""
    now = datetime.now().astimezone()
    return {
        "time": f"{now:%Y-%m-%d %H:%M %Z}",
        "git_commit": _git(repository, "rev-parse", "HEAD"),
        "git_changed_files": changed.splitlines(),
        "config": settings,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "python": platform.python_version(),
        "packages": _versions(),
        "packages_of_environment": _versions_in(environment),
        "system": platform.platform(),
        "cpu": hardware.cpu_name(),
        "cpu_cores": hardware.cores(),
        "gpus": [gpu["name"] for gpu in gpus],
        "gpu_driver": gpus[0]["driver_version"] if gpus else None,
        "stages": _stages(results / "logs"),
    }


def _git(repository: Path, *arguments: str) -> str | None:
    """What git prints about the repository; None if it fails."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _versions() -> dict[str, str]:
    return {n: v for found in packages.versions(PACKAGES).values() for n, v in found.items()}


def _versions_in(environment: str | None) -> dict[str, str] | None:
    """The same in the environment of the jobs that may use a GPU, if they have one of their own."""
    if environment is None:
        return None
    code = f"import json; from importlib import metadata as m; names = {PACKAGES!r}\n"
    code += "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
    code += "print(json.dumps({n: found[n] for n in names if n in found}))"
    try:
        answer = subprocess.run(
            [f"{environment}/bin/python", "-c", code], capture_output=True, text=True, timeout=60
        )
        return json.loads(answer.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


def _stages(logs: Path) -> dict[str, dict]:
    """Seconds and peak memory (MB) of each job's last run, from what Snakemake measured."""
    stages = {}
    for path in sorted(logs.rglob("*.tsv")):
        with path.open(newline="") as file:
            *_, row = csv.DictReader(file, delimiter="\t")
        stages[path.relative_to(logs).with_suffix("").as_posix()] = {
            "seconds": float(row["s"]),
            "peak_memory_mb": _number(row["max_rss"]),
        }
    return stages


def _number(text: str) -> float | None:
    """What Snakemake measured; None where it could not ("-", "NA" or "nan")."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value
