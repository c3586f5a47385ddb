"""The section ``hardware`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .sections import Section, key


@dataclass(frozen=True, repr=False)
class Hardware(Section):
    """What the jobs run on."""

    device: Literal["auto", "cpu", "gpu"] = key(
        "auto", "where networks run: auto takes a GPU if there is a usable one"
    )
    gpus: int = key(1, "GPUs that a training uses, with a process each", minimum=1, maximum=1024)
    cpu_processes: int = key(1, "processes of a training on CPUs", minimum=1, maximum=1024)
    nodes: int = key(
        1,
        "nodes of a cluster that a training spans, with gpus or cpu_processes on each (a job of "
        "SLURM)",
        minimum=1,
        maximum=1024,
    )
    environment: str | None = key(
        None,
        "folder of the Python environment (a venv) for the jobs that may use a GPU; null for the "
        "one that Snakemake runs in",
    )
    container: str | None = key(
        None,
        "image of the container for these jobs (a file or docker://…), used with snakemake "
        "--software-deployment-method apptainer; null for none",
    )
    threads: int | Literal["auto"] = key(
        "auto",
        "processor threads of a process; auto takes all cores, divided by the processes of a "
        "training (another number rounds differently, so fix it to repeat a run bit for bit)",
        schema={"oneOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 1024}]},
    )
