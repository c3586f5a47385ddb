# What all rules share: the checked configuration, where results go, and how jobs find their programs.

import contextlib
import functools
import math
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import LocalSourceFile

try:
    from twofour import artifacts, command, config as configuration, models, stages
except ImportError as error:
    raise WorkflowError(
        f"the package twofour is not installed in Snakemake's environment ({error}); "
        "run make .venv/.installed, or pip install on this repository"
    )
from twofour.data import imagenet, shards, tree
from twofour.deploy import backends
from twofour.models import DENSE, PRUNED, SPARSE
from twofour.network import architecture, pieces
from twofour.sparse import layers, masks
from twofour.system import files, hardware, lock, slurm
from twofour.system.errors import TwoFourError

ALONE = contextlib.ExitStack()  # holds the lock of see_alone as long as Snakemake runs
MODULE = not workflow.modifier.is_main_snakefile()  # another workflow imports this one

try:
    if MODULE:  # a module's files and command line are those of the workflow that imports it
        CONFIG = configuration.validated(config)
    else:  # Snakemake keeps the last of two equal keys, and reads 2026_11 as a number
        CONFIG = configuration.validated(
            configuration.read(
                *(workflow.overwrite_configfiles or workflow.configfiles),
                entries=workflow.config_settings.config_args,
            )
        )
    if CONFIG.data.source != "digits":
        tree.require_root(CONFIG.data)
    # The number of classes, not known yet, does not matter here.
    NETWORK = architecture.resnet(CONFIG.model, classes=2)
    layers.require_some(
        layers.choose(NETWORK.weights, CONFIG.sparsity.include, CONFIG.sparsity.exclude)
    )
    CASES = backends.cases(CONFIG.deploy.backends, CONFIG.deploy.precisions)
    configuration.require_files(CONFIG)
    if CONFIG.quantization.method == "qat" and backends.INT8 not in dict(map(reversed, CASES)):
        raise TwoFourError(
            "quantization.method is qat, but this machine's processor does not compute in int8, so "
            "that deploy.precisions: auto leaves it out; list int8, or set the method to ptq"
        )
except TwoFourError as error:
    raise WorkflowError(f"configuration: {error}")

RESULTS = f"results/{CONFIG.run}"
LOGS = f"{RESULTS}/logs"
CONTENT = f"{RESULTS}/dataset/{artifacts.CONTENT}"

# The programs are beside the rules or, where these come from another repository, in the package.
BASE = workflow.current_basedir
SCRIPTS = command.programs_folder()
if isinstance(BASE, LocalSourceFile):
    SCRIPTS = Path(BASE.get_path_or_uri(secret_free=True)).parent / "scripts"

# Jobs start as sh "$TWOFOUR" PROGRAM …, see start.sh. The path is passed in the environment: a path
# in the rules would make a moved repository rerun everything, and a shell prefix would also affect
# the rules of other workflows.
os.environ.update(
    TWOFOUR=str(SCRIPTS / "start.sh"),
    TWOFOUR_PYTHON="" if workflow.deployment_settings.deployment_method else sys.executable,
    TWOFOUR_GPU_ENV=(
        os.path.abspath(CONFIG.hardware.environment) if CONFIG.hardware.environment else ""
    ),
)

# Suffix of "pruned" and "sparse" in the names of models → the algorithm that it stands for.
ALGORITHMS = models.branches(CONFIG.sparsity.algorithm)
# What names of models begin with → the seed that they are trained with.
SEEDS = models.heads(models.seeds(CONFIG.seed))
SEED = "{seed}" if len(SEEDS) > 1 else ""  # in paths; a single one needs no wildcard
MODELS = models.of_run(CONFIG)
NAMES = [model.name for model in MODELS]
MEASURED = [model.name for model in models.of_first_seed(MODELS)]  # for speed
LEARNT = [model.name for model in MODELS if model.kind == models.QAT]  # they exist in int8 alone
# Rivals by the last part of their names → the configuration that they are made with.
RIVALS = {
    models.rival_name(given["model"]).partition("/")[2]: configuration.of_rival(CONFIG, given)
    for given in CONFIG.rivals
}
TRAININGS = [model.name for model in MODELS if model.made == models.TRAINING]
# Measured before any training: the dense network, rivals, and last the dense one pruned.
PREVIEWED = [model.name for model in models.previewed(MODELS)]
CASE_NAMES = [f"{backend}-{precision}" for backend, precision in CASES]
CHECKED = f"{RESULTS}/deploy/{{model}}/{artifacts.CHECK}"
CALIBRATION = f"{RESULTS}/deploy/{{model}}/{artifacts.CALIBRATION}"
QUANTIZED_CHECKED = f"{RESULTS}/deploy/{{model}}/{artifacts.QUANTIZED_CHECK}"
PREVIEW = f"{RESULTS}/{artifacts.PREVIEW}"
QUANTIZED = f"{RESULTS}/deploy/{{model}}/{artifacts.QUANTIZED}"
WITH_INT8 = any(precision == backends.INT8 for _, precision in CASES)
# Whose sparsity.json says which layers of a model must be sparse; None for a dense one.
PROMISES = {model.name: model.promise for model in MODELS}


wildcard_constraints:
    seed="|".join(SEEDS) or "(?:)",  # the first needs no name
    model="|".join(map(re.escape, NAMES)),
    rival="|".join(map(re.escape, RIVALS)) or "(?!)",
    algorithm="|".join(ALGORITHMS) or "(?:)",  # mask_1d needs no name: nothing follows
    backend="|".join(dict(CASES)),
    precision="|".join({precision for _, precision in CASES}),


def path_of(artifact, case="{backend}-{precision}", root=RESULTS):
    """The path of an artifact of each model and case, with wildcards for Snakemake."""
    fields = {"model": "{model}", "case": case, "name": "{name}"}
    return f"{root}/{artifact}".format(**fields)


def dataset(wildcards):
    """The file that identifies the dataset, an input of every rule below this stage.

    Where the stage will probably run again, it is asked of the checkpoint: Snakemake then
    decides anew what must run when the stage is done, and where the lists come out the same, nothing
    else does. (Snakemake keeps the reason of a job that was to run because another does, unless the
    job's own inputs are asked for again; so each rule needs this.)
    """
    if lists_may_change():
        return checkpoints.prepare_dataset.get().output.content
    return CONTENT


@functools.cache
def lists_may_change():
    """Whether networks were trained on lists that are made of something else than now, or are gone.

    They are gone where the stage has failed or was stopped.
    """
    if not os.path.exists(f"{RESULTS}/{DENSE}/{artifacts.TRAINING}"):
        return False
    if not os.path.exists(CONTENT):
        return True
    try:
        return files.read_json(SUMMARY)["origin"] != ORIGIN
    except (TwoFourError, KeyError):
        return True


def promised(wildcards):
    """The sparsity.json that says which layers of a model must be sparse; [] for a dense one."""
    promise = PROMISES[wildcards.model]
    return f"{RESULTS}/{promise}/{artifacts.SPARSITY}" if promise else []


def data_of(input):
    """The option that names the dataset; none for a job of a preview, which has no lists."""
    return ["--data", os.path.dirname(input.train)] if input.get("train") else []


def norms(seed):
    """inputs.npz for algorithms that go by inputs, a function for Snakemake."""
    return lambda wildcards: (
        f"{RESULTS}/{seed}{artifacts.INPUTS}".format(**{"seed": "", **wildcards})
        if ALGORITHMS[wildcards.algorithm] in masks.BY_INPUTS
        else []
    )


def timed_layers():
    """Speeds of the dense and the pruned network of a preview whose kernels skip zeros, if any do.

    In fp32 none do, whatever the backend: tensor cores have no such arithmetic.
    """
    able = [(b, p) for b, p in CASES if backends.about(b).sparse_kernels and p != "fp32"]
    if not able:
        return []
    backend, precision = able[0]
    speed = path_of(artifacts.SPEED, f"{backend}-{precision}", PREVIEW)
    return [speed.format(model=m) for m in (PREVIEWED[0], PREVIEWED[-1])]


def is_int8(wildcards):
    """Whether a job is about the quantised form of a model."""
    return wildcards.precision == backends.INT8


def floating(wildcards, root=RESULTS):
    """The dense model's build in fp32, if it is what quantised models are compared with."""
    if not is_int8(wildcards) or (wildcards.backend, "fp32") not in CASES:
        return []
    built = path_of(artifacts.BUILT, f"{wildcards.backend}-fp32", root)
    return built.format(model=MEASURED[0])


def of_cases(artifact, only=None):
    """The paths of an artifact of a model, a wildcard, in each case, or of those in a precision."""
    return [path_of(artifact, f"{b}-{p}") for b, p in CASES if only in (None, p)]


def in_cases(artifact, among=MODELS):
    """The paths of an artifact for each of the models ``among`` in each case in which they are used."""
    return [
        path
        for backend, precision in CASES
        for path in expand(
            path_of(artifact, f"{backend}-{precision}"),
            model=[model.name for model in models.in_case(among, precision)],
        )
    ]


def measured(wildcards):
    """Names of the models that are measured side by side in a case."""
    first = models.of_first_seed(MODELS)
    return [model.name for model in models.in_case(first, wildcards.precision)]


def parent(wildcards):
    """The model in fp32 that a twin comes from, with whose training graph it is compared."""
    return models.by_name(MODELS)[wildcards.model].parent


def like(wildcards):
    """Has a build take over how fast kernels were found to be in a preview."""
    if not backends.about(wildcards.backend).timings:
        return []
    name = wildcards.model
    if name not in PREVIEWED:  # dense or sparse, of any seed or branch
        name = PREVIEWED[-1] if PROMISES[name] else PREVIEWED[0]
    case = f"{wildcards.backend}-{wildcards.precision}"
    return ["--like", os.path.dirname(path_of(artifacts.BUILT, case, PREVIEW).format(model=name))]


def end_with_verdict(wildcards):
    """No file; has a run that is asked for everything end with its verdict (see terminal.py)."""
    os.environ.update(TWOFOUR_VERDICT=f"{RESULTS}/{artifacts.VERDICT}")
    return []


def end_with_preview(wildcards):
    """No file; has a run that is asked for the preview end with what it says."""
    os.environ.update(TWOFOUR_VERDICT=f"{PREVIEW}/{artifacts.PREVIEW_VERDICT}")
    return []


def of_kind(kind, among=MODELS):
    """Names of the models of one kind."""
    return [model.name for model in models.of_kind(among, kind)]


@functools.cache
def settings(stage):
    """The part of the configuration that a stage sees; as a parameter it decides what reruns.

    Returns a function, since Snakemake would look for wildcards in a string with braces.
    """
    part = stages.settings(stage, CONFIG)
    return lambda wildcards: part


def seeded(stage):
    """The same for a stage whose outputs are made once for each seed."""
    parts = {head: stages.settings(stage, CONFIG, seed) for head, seed in SEEDS.items()}
    return lambda wildcards: parts[wildcards.get("seed", "")]


def own(stage):
    """The same for a stage that sees the network: a rival has its own."""

    def part(wildcards):
        model = models.by_name(MODELS)[wildcards.model]
        made = RIVALS[model.name.rpartition("/")[2]] if model.kind == models.RIVAL else CONFIG
        return stages.settings(stage, made)

    return part


def seeded_rival(stage):
    """The same for the training of a rival."""
    return lambda wildcards: stages.settings(
        stage, RIVALS[wildcards.rival], SEEDS[wildcards.get("seed", "")]
    )


def code(stage, *modules):
    """Hash of the code that determines a stage's output; as a parameter it decides what reruns."""
    return stages.code(stage, *modules, scripts=SCRIPTS)


def backend_code(stage):
    """The same for a stage whose output also depends on the backend, a wildcard."""
    return lambda wildcards: code(stage, f"deploy.backends.{wildcards.backend}")


def conda(kind):
    """The conda file of envs/<kind> if Snakemake is asked to deploy the software, else None.

    Otherwise Snakemake would record the whole file, 200 KB, with each output, and read it at each
    start.
    """
    path = f"../../envs/{kind}/environment.yaml"
    return lambda wildcards: path if workflow.deployment_settings.deployment_method else None


CPU_CONDA = conda("cpu")
COMPUTE_CONDA = conda("gpu" if CONFIG.hardware.device == "gpu" else "cpu")
COMPUTE_CONTAINER = CONFIG.hardware.container


def see_alone():
    """Wait until no other run from this folder is at work on this machine.

    Their jobs would slow down each other's trainings and spoil the benchmarks. The lock goes with
    this process.
    """
    running = Path("results", ".running", platform.node())
    try:
        ALONE.enter_context(lock.exclusive(running, wait=math.inf))
    except KeyboardInterrupt:
        raise WorkflowError("stopped while waiting for the other run; nothing was begun")


def count_jobs(*names):
    """How many jobs of the rules with ``names`` in theirs will run, or of all rules."""
    found = [job.rule.name for job in workflow.dag.needrun_jobs()]
    return sum(any(name in rule for name in names or [""]) for rule in found)


def announce_work():
    """Let trainings know what else there is to do, so that they can tell how long it will take."""
    from twofour.train import estimate

    if lists_may_change():  # and with them, what runs
        return
    sizes = count_jobs("benchmark") * sum(CONFIG.benchmark.batch_sizes)
    batches = estimate.batches(CONFIG.benchmark.warmup, CONFIG.benchmark.steps)
    work = pieces.relative_work(CONFIG.model, configuration.rivals(CONFIG), CONFIG.data.image_size)
    estimate.announce(
        estimate.Work(
            dense=count_jobs("train_dense", "train_rival"),
            sparse=count_jobs("train_sparse", "train_control"),
            passes=count_jobs("import_dense", "reference") + len(CASES) * count_jobs("evaluate"),
            benchmark_images=len(MEASURED) * batches * sizes,
            jobs=count_jobs(),
            more=sum(
                work[f"{models.RIVAL}/{job.wildcards.rival}"] - 1
                for job in workflow.dag.needrun_jobs()
                if job.rule.name == "train_rival"
            ),
        )
    )


def see_cluster():
    """Warn of a setting that would make Snakemake wait for SLURM jobs forever."""
    status = getattr(workflow.executor_settings, "status_command", None)
    if status and (warning := slurm.forgets_jobs(status)):
        sys.stderr.write(f"warning: {warning}\n")


def see_doctor():
    """Stop if this machine lacks something that the jobs of this run need."""
    trains = [] if count_jobs("train_") else ["--no-training"]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "doctor.py", "--quiet", "--results", RESULTS, *trains]
        + ["--config", stages.settings("doctor", CONFIG)],
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        told = done.stderr.strip().rpartition("error: ")[2]
        raise WorkflowError(told)
    sys.stderr.write(done.stderr)
