# What jobs ask for: cores, GPUs, nodes.

HARDWARE = CONFIG.hardware
CLUSTER_CORES = 8  # of each process, asked of a cluster if hardware.threads is auto
ON_GPU = HARDWARE.device == "gpu"
PROCESSES = HARDWARE.gpus if ON_GPU else HARDWARE.cpu_processes


def cores(processes=1, every=False):
    """Cores of a job with this number of computing processes, or ``every`` one of the machine.

    Returns a function, since the executor is not known yet. Benchmarks take every core, so that
    nothing else runs beside them.
    """

    def number(wildcards):
        given = HARDWARE.threads
        if not workflow.local_exec:  # the machine of the job is not this one
            wanted = CLUSTER_CORES if given == "auto" else given
            return wanted * (2 if every and given == "auto" else processes)
        here = hardware.threads(given)
        if every:  # _cores is not set in a dry run
            return here if workflow.remote_exec else max(here, workflow._cores or 0)
        return here if given == "auto" else here * processes  # they share the machine

    return number


# What a training asks a cluster for: GPUs of one node, or several nodes, on which it starts its
# processes itself.
TRAINING = {"nodes": 1, "gpu": PROCESSES if ON_GPU else 0}
if HARDWARE.nodes > 1:
    TRAINING = {"nodes": HARDWARE.nodes, "tasks": HARDWARE.nodes, "mpi": "srun"}
    if ON_GPU:
        TRAINING["gres"] = f"gpu:{PROCESSES}"  # on each node


def gpus(wildcards):
    """GPUs that a job of this backend uses."""
    return backends.gpus(wildcards.backend, HARDWARE.device)


# Before the time limit SLURM signals all processes of a job; only trainings should react to it.
if workflow.remote_exec:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(slurm.TIME_IS_NEARLY_UP, signal.SIG_IGN)
        signal.signal(slurm.STOP, signal.SIG_IGN)
