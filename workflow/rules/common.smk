# What all rules share: the checked configuration, where results go, and what a rule depends on.

import contextlib
import functools
import os
import shlex
import signal
import subprocess
import sys
from os.path import abspath, dirname
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from twofour import architecture, deploy, imagenet, names, slurm, sparsity, stages
from twofour.config import from_command_line, require_files, require_root, validated
from twofour.dataset import fingerprint
from twofour.errors import TwoFourError
from twofour.hardware import threads
from twofour.names import DENSE, PRUNED, SPARSE

try:
    update_config(config, from_command_line(workflow.config_settings.config))
    CONFIG = validated(config)
    if CONFIG["data"]["source"] != "digits":
        require_root(CONFIG)
    # The number of classes, not known yet, does not matter here.
    NETWORK = architecture.resnet(CONFIG["model"], classes=2)
    sparsity.require_some(
        sparsity.choose(
            NETWORK.weights,
            CONFIG["sparsity"]["include"],
            CONFIG["sparsity"]["exclude"],
        )
    )
    CASES = deploy.cases(CONFIG["deploy"])
    require_files(CONFIG)
except TwoFourError as error:
    raise WorkflowError(f"configuration: {error}")

RESULTS = f"results/{CONFIG['run']}"

# Jobs find the programs by $SCRIPTS: with a path in the rules, a moved repository would rerun all.
# They use the Python that runs Snakemake, unless Snakemake gives them an environment of their own.
# They replace the shell (exec), so that Snakemake is their parent, and end when it does (TWOFOUR_TIED).
# NumPy gets no threads of its own: one of them might catch a signal while PaddlePaddle loads.
PREFIX = f"export SCRIPTS={shlex.quote(str(SCRIPTS))} TWOFOUR_TIED=$PPID OPENBLAS_NUM_THREADS=1; "
if not workflow.deployment_settings.deployment_method:
    PREFIX += f"export PATH={shlex.quote(dirname(sys.executable))}:$PATH; "
GPU_ENV = CONFIG["hardware"]["environment"]
GPU_ENV = abspath(GPU_ENV) if GPU_ENV else ""
# Jobs that may use a GPU begin with on_gpu, since TensorRT's Python is not Snakemake's.
PREFIX += f"GPU_ENV={shlex.quote(GPU_ENV)}; "
PREFIX += (
    'on_gpu() { [ -z "$GPU_ENV" ] || export PATH="$GPU_ENV/bin:$PATH" '
    'LD_LIBRARY_PATH="$GPU_ENV/lib/cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; }; '
)
shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))  # Snakemake would fill in names


def conda(kind):
    """The conda file of envs/<kind>, where Snakemake is asked to deploy the software.

    It would else note all of that file, 200 KB, with each output, and read it at each start.
    """
    path = f"../../envs/{kind}/environment.yaml"
    return lambda wildcards: path if workflow.deployment_settings.deployment_method else None


CPU_CONDA = conda("cpu")
COMPUTE_CONDA = conda("gpu" if CONFIG["hardware"]["device"] == "gpu" else "cpu")
COMPUTE_CONTAINER = CONFIG["hardware"]["container"]

HARDWARE = CONFIG["hardware"]
CLUSTER_CORES = 8  # of a process, where a cluster is asked for them and the configuration says auto
ON_GPU = HARDWARE["device"] == "gpu"
PROCESSES = HARDWARE["gpus" if ON_GPU else "cpu_processes"]


def cores(processes=1, every=False):
    """Cores of a job with this number of computing processes, or ``every`` one of the machine.

    A function, since the executor is not known yet. Benchmarks take every core, so that nothing
    else runs beside them.
    """

    def number(wildcards):
        given = HARDWARE["threads"]
        if not workflow.local_exec:  # the machine of the job is not this one
            wanted = CLUSTER_CORES if given == "auto" else given
            return wanted * (2 if every and given == "auto" else processes)
        here = threads(given)
        if every:  # none are set for a dry run
            return here if workflow.remote_exec else max(here, workflow._cores or 0)
        return here if given == "auto" else here * processes  # they share the machine

    return number


# What a training asks a cluster for: GPUs of one node, or several nodes, on which it starts its
# processes itself.
TRAINING = {"nodes": 1, "gpu": PROCESSES if ON_GPU else 0}
if HARDWARE["nodes"] > 1:
    TRAINING = {"nodes": HARDWARE["nodes"], "tasks": HARDWARE["nodes"], "mpi": "srun"}
    if ON_GPU:
        TRAINING["gres"] = f"gpu:{PROCESSES}"  # on each node


def gpus(wildcards):
    """GPUs that a job of this backend uses."""
    return deploy.gpus(wildcards.backend, HARDWARE["device"])


# Before the time limit SLURM signals to all processes of a job; only trainings shall hear it.
if workflow.remote_exec:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(slurm.TIME_IS_NEARLY_UP, signal.SIG_IGN)
        signal.signal(slurm.STOP, signal.SIG_IGN)

# What follows "pruned" and "sparse" in the names of models, and the algorithm that it stands for.
BRANCHES = names.branches(CONFIG["sparsity"]["algorithm"])
MODELS = names.models(CONFIG["sparsity"]["algorithm"])
BACKENDS = [f"{backend}-{precision}" for backend, precision in CASES]


wildcard_constraints:
    model="|".join(MODELS),
    branch="|".join(BRANCHES) or "(?:)",  # a single algorithm needs no name: nothing follows
    backend="|".join(CONFIG["deploy"]["backends"]),
    precision="|".join(CONFIG["deploy"]["precisions"]),
    batch_size=r"\d+",


@functools.cache
def settings(stage):
    """The part of the configuration that a stage sees; as a parameter it decides what reruns.

    A function, since Snakemake would look for wildcards in a text with braces.
    """
    part = stages.settings(stage, CONFIG)
    return lambda wildcards: part


def see_cluster():
    """Warn of what makes Snakemake wait for jobs of SLURM without end."""
    command = getattr(workflow.executor_settings, "status_command", None)
    if command and (warning := slurm.forgets_jobs(command)):
        sys.stderr.write(f"warning: {warning}\n")


def see_doctor():
    """Stop if this machine lacks something that the configuration needs."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / "doctor.py", "--quiet", "--results", RESULTS]
        + ["--config", stages.settings("doctor", CONFIG)],
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise WorkflowError(f"configuration: {done.stderr.strip()}")
    sys.stderr.write(done.stderr)
