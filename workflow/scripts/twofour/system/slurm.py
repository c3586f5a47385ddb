"""What a training needs from the batch system SLURM: several nodes, and to be started again.

Documentation: https://slurm.schedmd.com/ (pages sbatch, srun, scontrol).
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

from .cli import ANY_PARENT, TIED, log
from .errors import TwoFourError

JOB = "SLURM_JOB_ID"  # set in every job
# The signal before a job's time is over, if it was submitted with --signal=USR1@<seconds>.
TIME_IS_NEARLY_UP = signal.SIGUSR1
# The signal with which one process tells all others of a step, on all nodes, to save and end.
STOP = signal.SIGUSR2
_NODE = "TWOFOUR_NODE"  # set for the processes of on_each_node
_LONGEST_PAUSE_S = 240  # between two queries of Snakemake's plugin, with some margin
_FIRST_PORT, _PORTS = 20_000, 10_000


def on_each_node(nodes: int, script: str, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run a program of ours once on each of the job's ``nodes`` nodes.

    Raises TwoFourError outside of a job.
    """
    if JOB not in os.environ:
        raise TwoFourError(
            f"hardware.nodes is {nodes}, but this is not a SLURM job, and only SLURM can provide "
            "several nodes; run snakemake --profile profiles/slurm, or set hardware.nodes to 1"
        )
    return [
        *("srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"),
        *("--kill-on-bad-exit=1", "--cpu-bind=none", "--export=ALL"),
        *(sys.executable, script, *arguments),
    ], {**os.environ, _NODE: "1", TIED: ANY_PARENT}


def on_a_node() -> bool:
    """Whether this process is one of those of :func:`on_each_node`."""
    return _NODE in os.environ


def node() -> int:
    """The number of this process's node among those of the step, from 0."""
    return int(os.environ["SLURM_NODEID"])


def meeting_point() -> str:
    """Address and port on the step's first node at which the processes of all nodes connect."""
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ["SLURM_JOB_NODELIST"]
    first = _scontrol("show", "hostnames", nodes).split()[0]
    found = re.search(r"NodeAddr=(\S+)", _scontrol("show", "node", first, "--oneliner"))
    name = found[1] if found else first
    try:
        address = socket.gethostbyname(name)
    except OSError as error:
        raise TwoFourError(
            f"the address of the job's first node, {name}, cannot be resolved: {error.strerror}"
        ) from error
    return f"{address}:{_FIRST_PORT + int(os.environ[JOB]) % _PORTS}"


def start_again() -> None:
    """Have SLURM put this job back into the queue, if it is one; logs a warning if it does not."""
    job = os.environ.get(JOB)
    if job is None:
        return
    try:
        _scontrol("requeue", job)
    except TwoFourError as error:
        log.warning("%s; the same command resumes from the checkpoint", error)


def forgets_jobs(status_command: str) -> str:
    """What is wrong with asking for the states of jobs by this command; "" if nothing is.

    Snakemake asks at least every three minutes; if squeue has forgotten a job by then, Snakemake
    would wait for it forever.
    """
    try:
        found = re.search(r"MinJobAge\s*=\s*(\d+)", _scontrol("show", "config"))
    except TwoFourError as error:
        return str(error)
    if status_command != "squeue" or not found or int(found[1]) >= _LONGEST_PAUSE_S:
        return ""
    return (
        f"SLURM forgets jobs here {found[1]} s after they have ended (MinJobAge), which may be "
        "before Snakemake asks for them; use --slurm-status-command sacct"
    )


def allotted_cores() -> int | None:
    """Processor cores of this job on this node; None outside of a job.

    Not every cluster binds its processes to them.
    """
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return None


def _scontrol(*words: str) -> str:
    try:
        done = subprocess.run(
            ["scontrol", *words], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TwoFourError(f"scontrol {' '.join(words)} failed: {error}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise TwoFourError(f"scontrol {' '.join(words)} failed: {said}")
    return done.stdout
