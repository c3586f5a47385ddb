"""A real SLURM on this machine: a controller and two nodes, in a folder of its own, without root.

The nodes are processes on ports of their own; each claims more cores than there are, and a fake
GPU. Nothing outside the folder is read, changed or stopped.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

NODES = ("n1", "n2")
CORES, MEMORY_MB = 16, 128_000  # of each node
COMMANDS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
DAEMONS = ("slurmctld", "slurmd")
PARTITION, ACCOUNT = "batch", "project"
# Debian has slurmctld and slurmd in /usr/sbin, which is not on everybody's path.
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
# Seconds after which a job that was put back into the queue may start again.
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
ReturnToService=2
KillWait=5
MinJobAge=600
GresTypes=gpu
{nodes}
PartitionName={partition} Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs={cores} "
    "RealMemory={memory} Gres=gpu:1"
)


def lacking() -> str:
    """Which parts of SLURM are not installed here; "" if none is missing."""
    missing = [name for name in (*DAEMONS, *COMMANDS) if not shutil.which(name, path=SEARCHED)]
    return f"SLURM is not installed (no {', '.join(missing)})" if missing else ""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """A cluster in ``folder``, running between :meth:`start` and :meth:`stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen] = {}
        host = socket.gethostname()
        for name in ("state", *(f"spool.{node}" for node in NODES), "bin"):
            (folder / name).mkdir(parents=True)
        nodes = [
            NODE.format(name=n, host=host, port=_free_port(), cores=CORES, memory=MEMORY_MB)
            for n in NODES
        ]
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host,
                port=_free_port(),
                user=getpass.getuser(),
                folder=folder,
                nodes="\n".join(nodes),
                partition=PARTITION,
            )
        )
        (folder / "gres.conf").write_text(
            f"NodeName={','.join(NODES)} Name=gpu Count=1 File=/dev/null\n"
        )
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        # Snakemake's plugin removes SLURM_CONF from the environment, so each command sets it.
        for name in COMMANDS:
            command = folder / "bin" / name
            command.write_text(
                f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec {self._which(name)} "$@"\n'
            )
            command.chmod(0o755)
        self.environment = {
            **{name: v for name, v in os.environ.items() if not name.startswith("SLURM_")},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    @staticmethod
    def _which(name: str) -> str:
        return shutil.which(name, path=SEARCHED)

    def _daemon(self, name: str, *words: str) -> None:
        with (self.folder / f"{'-'.join([name, *words])}.out").open("ab") as said:
            self._daemons[words[-1] if words else name] = subprocess.Popen(
                [self._which(name), "-D", *words],
                env={**self.environment, "SLURM_CONF": str(self.folder / "slurm.conf")},
                stdout=said,
                stderr=said,
            )

    def start(self) -> None:
        """Start all daemons and wait until both nodes take jobs."""
        self._daemon("slurmctld")
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: self.states().count("idle") == len(NODES), "idle nodes")

    def start_node(self, node: str) -> None:
        """Start the daemon of ``node``."""
        self._daemon("slurmd", "-N", node)

    def states(self) -> list[str]:
        """The state of each node: idle, mixed, allocated, down …."""
        done = self.run("sinfo", "-hN", "-o", "%T", check=False)
        return done.stdout.split()

    def fail_node(self, node: str) -> None:
        """The node loses power: all its processes are gone at once, and SLURM is told so."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        lost = [p for p in self._steps() if p.info["environ"].get("SLURMD_NODENAME") == node]
        # First kill those that would tell the controller that the others have ended.
        managers = [process.parent() for process in lost]
        for process in [p for p in managers if p and p.name().startswith("slurmstepd")]:
            _kill(process)
        for process in lost:
            _kill(process)
        daemon.wait()
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")

    def stop(self) -> None:
        """End all jobs, steps and daemons of this cluster."""
        self.run("scancel", "--user", getpass.getuser(), check=False)
        for daemon in self._daemons.values():
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for process in self._steps():
            _kill(process)

    def _steps(self) -> list[psutil.Process]:
        """Processes that this cluster's nodes have started."""
        mine = f"{self.folder}/slurm.conf"
        found = []
        for process in psutil.process_iter(["name", "environ"]):
            environment = process.info["environ"] or {}
            if environment.get("SLURM_CONF") == mine and process.info["name"] != "slurmctld":
                found.append(process)
        return found

    def run(self, *words, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run a command on the machine from which jobs are submitted."""
        done = subprocess.run(
            list(map(str, words)),
            capture_output=True,
            text=True,
            env=self.environment,
            **options,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, as scontrol shows them."""
        text = self.run("scontrol", "show", "jobs", "--oneliner").stdout
        lines = [line for line in text.splitlines() if line.startswith("JobId=")]
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]

    def wait(self, condition, what: str, seconds: float = 60):
        """Wait until ``condition()`` is true, and return its value."""
        until = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < until, f"no {what} within {seconds} s\n{self.logs()}"
            time.sleep(0.2)
        return result

    def logs(self) -> str:
        """The last lines that the daemons printed."""
        paths = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"{p.name}: {p.read_text()[-1500:]}" for p in sorted(paths))


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.kill()
