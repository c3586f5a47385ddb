"""Compares what the machine has with what a configuration needs, and says what to do.

:func:`gather` inspects the machine, :func:`judge` compares; so each verdict can be tested without
the hardware that leads to it.
"""

from __future__ import annotations

import ctypes
import importlib
import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import models
from .config import Config, rivals
from .data import sources
from .data.batches import steps_per_epoch
from .deploy import backends
from .deploy.backends.tensorrt import TESTED_VERSIONS
from .network import architecture, pieces, weights
from .system import environments, fatbin, hardware, libraries, memory, packages
from .system.errors import TwoFourError, telling
from .system.progress import about
from .train import estimate, footprint, precision, recipe

OK, NOTE, PROBLEM = "ok", "note", "problem"

# Packages that every configuration needs; each backend names its own.
PACKAGES = ("numpy", "pandas", "pillow", "onnx", "nvidia-dali-cuda110", "protobuf")
PADDLE = ("paddlepaddle", "paddlepaddle-gpu")  # one of them
JUDGED_APART = (*PADDLE, "tensorrt")
# Names by which PaddlePaddle opens CUDA's libraries, and the major version that 2.6 was built with.
CUDA_LIBRARIES = ("libcudart.so", "libcublas.so", "libcudnn.so", "libcurand.so", "libcusolver.so")
NCCL = "libnccl.so"
CUDNN_MAJOR = 8
# CUDA's libraries run with any driver for the same major version (NVIDIA's minor version
# compatibility): the first one.
DRIVERS = {11: "450.80", 12: "525.60", 13: "580.65"}
MIN_FILES = 1024  # file descriptors
MIN_SHARED = 1 << 30  # bytes; NCCL and gloo exchange through it, and containers often have 64 MB
MIN_DISK = 2 << 30  # bytes for checkpoints, weights and engines
_SHARED = "/dev/shm"
CLASSES = 1000  # assumed for the memory, to which the classifier adds little
# Training images, validation images (of the digits a fifth, about) and classes of known sources.
PYTHONS = ((3, 10), (3, 12))


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was looked at, what was found, and what to do about it."""

    subject: str
    found: str
    status: str = OK
    remedy: str = ""


@dataclass
class Facts:
    """What :func:`gather` found. Versions are strings; None or missing for what is absent."""

    python: tuple[int, int] = (3, 11)
    packages: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # by which they are installed
    gpus: list[dict[str, str]] = field(default_factory=list)
    cpu: str = ""
    cores: int = 1
    paddle_cuda: str | None = None
    cuda: int | None = None  # major version of CUDA's libraries here
    paddle_code: set[tuple[int, int]] = field(default_factory=set)
    paddle_ptx: set[tuple[int, int]] = field(default_factory=set)
    paddle_tensorrt: tuple[int, int, int] | None = None
    driver_cuda: int | None = None  # 11080 is 11.8
    libraries: dict[str, bool] = field(default_factory=dict)
    cudnn: int | None = None  # 8906 is 8.9.6
    tensorrt: str | None = None
    tensorrt_error: str = ""
    backends: dict[str, str] = field(default_factory=dict)  # those that cannot run, and why
    deploys: bool = False  # whether this is an environment for deploying on GPUs
    disk_free: int = 1 << 40
    files: int = 1 << 20
    shared: int = 1 << 34
    memory: float | None = None  # bytes that are free


def gather(settings: Config, results: str = ".") -> Facts:
    """Inspect this machine, as far as it matters to ``settings`` (the whole configuration)."""
    installed = packages.versions((*needed_packages(settings, True), *PADDLE))
    facts = Facts(
        python=sys.version_info[:2],
        packages={name: version for name, found in installed.items() for version in found.values()},
        names={name: other for name, found in installed.items() for other in found},
        gpus=hardware.gpus(),
        cpu=hardware.cpu_name(),
        cores=hardware.cores(),
        paddle_cuda=hardware.paddle_cuda(),
        deploys="onnxruntime-gpu" in packages.versions(["onnxruntime-gpu"]),
        disk_free=shutil.disk_usage(_existing(results)).free,
        memory=memory.free(),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
    if Path(_SHARED).is_dir():
        facts.shared = shutil.disk_usage(_SHARED).total
    facts.cuda = _cuda(facts.paddle_cuda)
    if facts.paddle_cuda:
        facts.paddle_code, facts.paddle_ptx = hardware.paddle_code()
    if _wants_gpu(settings) and (facts.gpus or settings.hardware.device == "gpu"):
        facts.driver_cuda = _driver_cuda()
        if facts.cuda == 11:  # later PaddlePaddles find CUDA's packages by themselves
            facts.libraries = {name: _opens(name) for name in (*CUDA_LIBRARIES, NCCL)}
            facts.cudnn = _cudnn()
        if facts.paddle_cuda:
            facts.paddle_tensorrt = _paddle_tensorrt()
    if _with_tensorrt(settings):
        facts.tensorrt, facts.tensorrt_error = _tensorrt()
    cases = backends.cases(settings.deploy.backends, settings.deploy.precisions)
    facts.backends = backends.lacks(cases, settings.hardware)
    return facts


def judge(facts: Facts, settings: Config, trains: bool = True) -> list[Finding]:
    """The table for the configuration ``settings``, in order; ``trains`` if networks will be."""
    findings = [
        *_system(facts),
        *_packages(facts, settings),
        *_gpus(facts, settings),
        *_environment(facts, settings),
        *_paddle(facts, settings),
        *_libraries(facts, settings),
        *_tensorrt_findings(facts, settings),
    ]
    if not any(finding.status == PROBLEM for finding in findings):  # those explain it better
        for name, reason in facts.backends.items():
            findings.append(Finding(name, "cannot run here", PROBLEM, reason))
    findings += [*_room(facts, settings), _use(facts, settings)]
    if trains and not any(finding.status == PROBLEM for finding in findings):
        findings.append(_memory(facts, settings))
    if trains and settings.train.init:
        findings.append(_given_weights("train.init", settings.train.init, settings))
    if trains and settings.dense.weights:
        findings.append(_given_weights("dense.weights", settings.dense.weights, settings))
    return findings


def rehearse(settings: Config) -> Finding:
    """About how long the whole run takes, from a few steps that are really computed."""
    train = settings.train
    try:
        images, val_images, classes = sources.count(settings.data)
        machine = libraries.start(settings.hardware, training=True)
        processes = machine.all_processes
        steps_per_epoch(images, train.batch_size, processes * train.accumulation)
        from .train import rehearsal  # which loads PaddlePaddle

        chosen = precision.choose(train.precision, machine)
        alone = rehearsal.seconds_per_image(settings, machine, chosen, classes)
    except TwoFourError as error:
        return Finding("images", "they do not fit the configuration", PROBLEM, str(error))
    except Exception as error:  # of PaddlePaddle on a machine where much may be amiss
        return Finding("time", "not known", NOTE, f"a training step failed: {telling(error)}")
    per_image = alone / processes  # evaluations and benchmarks are one process each
    training = estimate.training_seconds(per_image, images, val_images, train.epochs)
    work = _work(settings)
    run = work.seconds(training, alone, val_images)
    most = work.benchmark_seconds(alone) > run / 2
    text = (
        f"about {about(training)} for a training of {train.epochs} epochs of {images} images, "
        f"about {about(run)} for the run{', most of it benchmarks' if most else ''} "
        f"({1 / per_image:.3g} img/s in a few steps)"
    )
    return Finding("time", text)


def _work(settings: Config) -> estimate.Work:
    """The jobs of a whole run."""
    algorithms = len(models.branches(settings.sparsity.algorithm))
    control, seeds = int(settings.dense.control), len(models.seeds(settings.seed))
    work = pieces.relative_work(settings.model, rivals(settings), settings.data.image_size)
    rows, deploy = 1 + control + 2 * algorithms + len(work), settings.deploy
    cases = len(backends.cases(deploy.backends, deploy.precisions))
    sizes = settings.benchmark.batch_sizes
    batches = estimate.batches(settings.benchmark.warmup, settings.benchmark.steps)
    return estimate.Work(
        dense=seeds * (int(settings.dense.weights is None) + len(work)),
        sparse=seeds * (algorithms + control),
        passes=seeds * rows * (1 + cases),
        benchmark_images=cases * rows * batches * sum(sizes),
        jobs=10 + seeds * rows * (4 + cases) + cases,
        more=seeds * (sum(work.values()) - len(work)),
    )


def table(findings: list[Finding]) -> str:
    """The findings as text, with the remedies below."""
    width = max(len(f.subject) for f in findings)
    marks = {OK: "  ", NOTE: "- ", PROBLEM: "! "}
    lines = [f"{marks[f.status]}{f.subject:<{width}}  {f.found}" for f in findings]
    for finding in findings:
        if finding.remedy:
            lines.append(f"{finding.status}: {finding.subject}: {finding.remedy}")
    return "\n".join(lines)


# --- verdicts ---


def _system(facts: Facts) -> Iterator[Finding]:
    name = ".".join(map(str, facts.python))
    if PYTHONS[0] <= facts.python <= PYTHONS[1]:
        yield Finding("Python", name)
    else:
        yield Finding(
            "Python", name, PROBLEM, "PaddlePaddle and DALI need 3.10 to 3.12; use one of these"
        )


def _packages(facts: Facts, settings: Config) -> Iterator[Finding]:
    needed = needed_packages(settings, bool(facts.gpus))
    lacking = [name for name in needed if name not in facts.packages]
    text = ", ".join(
        f"{facts.names.get(n, n)} {facts.packages[n]}" for n in needed if n in facts.packages
    )
    if lacking:
        anywhere = needed_packages(settings, on_gpu=False)
        for_gpus = not set(lacking) & set(anywhere)
        if for_gpus and "onnxruntime-gpu" in lacking:
            how = "make run ENV=deploy-gpu"
        else:
            how = _command(facts.gpus) if for_gpus else "make run"
        remedy = f"install {', '.join(lacking)} ({how} does it, from envs/)"
        yield Finding("packages", text, PROBLEM, remedy)
    else:
        yield Finding("packages", text)
    protobuf = facts.packages.get("protobuf")
    if protobuf and not 4 <= int(protobuf.split(".")[0]) < 7:
        yield Finding(
            "protobuf", protobuf, PROBLEM, "PaddlePaddle 2.6 fails with it; install one below 7"
        )


def _gpus(facts: Facts, settings: Config) -> Iterator[Finding]:
    wanted = settings.hardware
    for index, gpu in enumerate(facts.gpus):
        text = (
            f"{gpu['name']}, compute capability {gpu['compute_cap']}, {gpu.get('memory.total')}, "
            f"driver {gpu['driver_version']}"
        )
        yield Finding(f"GPU {index}", text)
    if not facts.gpus:
        if wanted.device == "gpu":
            remedy = (
                "hardware.device is gpu, but nvidia-smi finds no GPU here; run it where there is "
                "one (in a container with --gpus all or --nv), or set it to auto or cpu"
            )
            yield Finding("GPU", "none", PROBLEM, remedy)
        else:
            yield Finding("GPU", "none")
    elif wanted.device != "cpu" and wanted.gpus > len(facts.gpus):
        remedy = f"hardware.gpus is {wanted.gpus}; set it to at most {len(facts.gpus)}"
        yield Finding("GPUs", str(len(facts.gpus)), PROBLEM, remedy)


def _paddle(facts: Facts, settings: Config) -> Iterator[Finding]:
    version = facts.packages.get("paddlepaddle-gpu") or facts.packages.get("paddlepaddle")
    if version is None:
        yield Finding("PaddlePaddle", "not installed", PROBLEM, "install it (make run does)")
        return
    by_name = settings.hardware.device == "gpu"
    wants = _wants_gpu(settings)
    if facts.paddle_cuda is None:
        text = f"{version}, built for CPUs"
        if by_name:
            gpu = hardware.capability(facts.gpus[0]) if facts.gpus else None
            remedy = (
                "hardware.device is gpu, but this PaddlePaddle cannot use one; use make run "
                f"ENV={environments.training(gpu)}, name an environment in hardware.environment, "
                "or set it to auto"
            )
            yield Finding("PaddlePaddle", text, PROBLEM, remedy)
        else:
            yield Finding("PaddlePaddle", text)
        return
    listed = fatbin.listed(facts.paddle_code)
    text = f"{version}, CUDA {facts.paddle_cuda}, code for {listed or 'no GPU'}"
    if facts.paddle_ptx:
        text += f" and PTX {max(facts.paddle_ptx)[0]}.{max(facts.paddle_ptx)[1]}"
    unusable = _without_code(facts, settings)
    if unusable and wants:
        remedy = (
            f"it has no code for {unusable[0]['name']}, so networks cannot be trained there; "
            + environments.advice(unusable[0]["name"], hardware.capability(unusable[0]))
        )
        yield Finding("PaddlePaddle", text, PROBLEM if by_name else NOTE, remedy)
    else:
        yield Finding("PaddlePaddle", text)


def _command(gpus: list[dict[str, str]]) -> str:
    """How to run where the first of ``gpus`` is used."""
    return f"make run ENV={environments.name(hardware.capability(gpus[0])) or 'cpu'}"


def _environment(facts: Facts, settings: Config) -> Iterator[Finding]:
    """Whether this environment makes of the GPU what can be made of it."""
    if not facts.gpus or not _wants_gpu(settings) or facts.paddle_cuda:
        return  # a PaddlePaddle for GPUs has its own line
    capability = hardware.capability(facts.gpus[0])
    text = "deploys on the GPU, trains on the CPU" if facts.deploys else "for CPUs"
    if facts.deploys and environments.name(capability) != "gpu":
        yield Finding("environment", text)
    else:
        advice = environments.advice(facts.gpus[0]["name"], capability)
        yield Finding("environment", text, NOTE, advice)


def _libraries(facts: Facts, settings: Config) -> Iterator[Finding]:
    if not _wants_gpu(settings) or not (facts.gpus or settings.hardware.device == "gpu"):
        return
    if facts.cuda is None:  # nothing here is for GPUs
        return
    severity = PROBLEM if settings.hardware.device == "gpu" else NOTE
    if facts.driver_cuda is None:
        yield Finding(
            "NVIDIA driver", "cannot be loaded", severity, "install the driver, with libcuda.so.1"
        )
    else:
        text = f"for CUDA up to {facts.driver_cuda // 1000}.{facts.driver_cuda % 1000 // 10}"
        if facts.driver_cuda < facts.cuda * 1000:
            first = DRIVERS.get(facts.cuda, "for it")
            remedy = f"it is too old for CUDA {facts.cuda}; install driver {first} or later"
            yield Finding("NVIDIA driver", text, severity, remedy)
        else:
            yield Finding("NVIDIA driver", text)
    if facts.cuda > 11:
        return
    needed = [*CUDA_LIBRARIES, *([NCCL] if settings.hardware.gpus > 1 else [])]
    lacking = [name for name in needed if not facts.libraries.get(name)]
    if lacking and facts.paddle_cuda:
        remedy = (
            f"{', '.join(lacking)} cannot be loaded; run envs/gpu/environment.post-deploy.sh for "
            "the environment and put its lib/cuda into LD_LIBRARY_PATH (make run ENV=gpu does both)"
        )
        yield Finding("CUDA libraries", f"{len(lacking)} missing", severity, remedy)
    elif facts.paddle_cuda:
        yield Finding("CUDA libraries", ", ".join(needed))
    if facts.cudnn is not None:
        major, minor, patch = facts.cudnn // 1000, facts.cudnn % 1000 // 100, facts.cudnn % 100
        text = f"{major}.{minor}.{patch}"
        if facts.paddle_cuda and major != CUDNN_MAJOR:
            remedy = (
                f"PaddlePaddle 2.6 was built with cuDNN {CUDNN_MAJOR}; install nvidia-cudnn-cu11"
            )
            yield Finding("cuDNN", text, severity, remedy)
        else:
            yield Finding("cuDNN", text)


def _tensorrt_findings(facts: Facts, settings: Config) -> Iterator[Finding]:
    asked = _with_tensorrt(settings)
    if not asked or not facts.gpus:  # without a GPU the library does not matter
        return
    if facts.tensorrt is None:
        text = "missing" if not facts.tensorrt_error else "does not load"
        remedy = (
            f"deploy.backends lists {asked[0]}; use {_command(facts.gpus)}, or install tensorrt, "
            f"or take {', '.join(asked)} out of deploy.backends"
        )
        if facts.tensorrt_error:
            remedy += f" ({facts.tensorrt_error})"
        yield Finding("TensorRT", text, PROBLEM, remedy)
        return
    major = int(facts.tensorrt.split(".")[0])
    if major not in TESTED_VERSIONS:
        remedy = (
            f"TwoFour is written for TensorRT {', '.join(map(str, TESTED_VERSIONS))}; install "
            "one of these"
        )
        yield Finding("TensorRT", facts.tensorrt, PROBLEM, remedy)
        return
    yield Finding("TensorRT", facts.tensorrt)
    if "paddle_trt" in asked and facts.paddle_cuda:
        built = facts.paddle_tensorrt
        there = tuple(int(part) for part in facts.tensorrt.split(".")[:3])
        if built and built != there:
            text = f"{'.'.join(map(str, built))} in PaddlePaddle, {facts.tensorrt} installed"
            remedy = (
                f"the backend paddle_trt needs exactly the TensorRT PaddlePaddle was built with; "
                f"install tensorrt {'.'.join(map(str, built))}, or take paddle_trt out of "
                "deploy.backends"
            )
            yield Finding("TensorRT of PaddlePaddle", text, PROBLEM, remedy)
    if "paddle_trt" in asked and facts.paddle_cuda is None:
        remedy = "paddle_trt needs a PaddlePaddle with CUDA and TensorRT (make run ENV=gpu)"
        yield Finding("TensorRT of PaddlePaddle", "none", PROBLEM, remedy)


def _room(facts: Facts, settings: Config) -> Iterator[Finding]:
    free = f"{facts.disk_free / 1e9:.1f} GB free"
    low = facts.disk_free < MIN_DISK
    remedy = "checkpoints and engines may not fit; make space" if low else ""
    yield Finding("disk", free, NOTE if low else OK, remedy)
    low = facts.files < MIN_FILES
    remedy = f"raise it with ulimit -n {MIN_FILES}" if low else ""
    yield Finding("open files", f"up to {facts.files}", NOTE if low else OK, remedy)
    several = max(settings.hardware.gpus, settings.hardware.cpu_processes) > 1
    low = several and facts.shared < MIN_SHARED
    remedy = "several processes exchange data there; start the container with --shm-size 8g"
    text = f"{facts.shared / 1e9:.1f} GB"
    yield Finding("shared memory", text, NOTE if low else OK, remedy if low else "")


def _machine(facts: Facts, settings: Config) -> hardware.Machine:
    """What trainings will run on."""
    wanted = settings.hardware
    usable = facts.paddle_cuda and facts.gpus and not _without_code(facts, settings)
    if wanted.device != "cpu" and usable:
        first = facts.gpus[0]
        capability = hardware.capability(first)
        return hardware.Machine("gpu", first["name"], 1, wanted.gpus, capability=capability)
    return hardware.Machine("cpu", facts.cpu, 1, wanted.cpu_processes)


def _given_weights(key: str, path: str, settings: Config) -> Finding:
    """Whether the weights in the file that ``key`` names fit the network."""
    try:
        network = architecture.resnet(settings.model, CLASSES)
        _, source = weights.fitting(path, network, key)
    except TwoFourError as error:
        return Finding(key, path, PROBLEM, str(error).removeprefix(f"{key}: "))
    return Finding(key, f"{path}, of {source or 'TwoFour'}")


def _memory(facts: Facts, settings: Config) -> Finding:
    """Whether a training step fits into memory."""
    machine = _machine(facts, settings)
    chosen: str = settings.train.precision
    if chosen == "auto":
        chosen = precision.offered(machine)[0]
    free = facts.memory if machine.device == "cpu" else footprint.gpu_bytes(facts.gpus[0])
    network = architecture.resnet(settings.model, CLASSES)
    text = "not known" if free is None else f"{free / 1e9:.1f} GB free"
    try:
        taught = settings.train.distill > 0
        needed = footprint.require(settings, network, machine, chosen, free, taught)
    except TwoFourError as error:
        return Finding("memory", text, PROBLEM, str(error))
    return Finding("memory", f"{text}, of which a training takes about {needed / 1e9:.1f} GB")


def _use(facts: Facts, settings: Config) -> Finding:
    """In what trainings will compute."""
    wanted, machine = settings.hardware, _machine(facts, settings)
    if machine.device == "gpu":
        what = f"{wanted.gpus} × {machine.name}"
    else:
        what = f"CPU ({facts.cpu}, {facts.cores} cores)"
        if wanted.cpu_processes > 1:
            what += f", {wanted.cpu_processes} processes"
    if wanted.nodes > 1:
        what += f", on each of {wanted.nodes} nodes"
    wanted_precision: str = settings.train.precision
    offered = precision.offered(machine)
    if wanted_precision == "auto":
        wanted_precision = offered[0]
    if wanted_precision not in offered:
        remedy = f"it can do {', '.join(offered)}; set train.precision to auto or one of these"
        return Finding("training", f"{what} cannot do {wanted_precision}", PROBLEM, remedy)
    if machine.device == "cpu" and wanted.device == "auto" and wanted.gpus > 1:
        train = settings.train
        shards = wanted.cpu_processes * wanted.nodes * train.accumulation
        remedy = (
            f"hardware.gpus is {wanted.gpus}, but no GPU can be used; on the CPU a step has "
            f"{train.batch_size * shards} images and the learning rate goes up to "
            f"{recipe.peak_learning_rate(train, shards):g}, so it is a different training"
        )
        return Finding("training", f"{what}, {wanted_precision}", NOTE, remedy)
    return Finding("training", f"{what}, {wanted_precision}")


def _without_code(facts: Facts, settings: Config) -> list[dict[str, str]]:
    """The GPUs that a training would use but for which PaddlePaddle has no code."""
    used = facts.gpus[: settings.hardware.gpus]
    return hardware.without_code(used, facts.paddle_code, facts.paddle_ptx)


def needed_packages(settings: Config, on_gpu: bool) -> list[str]:
    """The packages whose versions are checked, apart from PaddlePaddle and TensorRT.

    Those of backends that run only on GPUs are left out where there is none (``on_gpu``).
    """
    chosen = [backends.about(name) for name in settings.deploy.backends]
    used = [package for about in chosen if about.on_cpu or on_gpu for package in about.packages]
    wanted = dict.fromkeys(package for package in used if package not in JUDGED_APART)
    return [*PACKAGES, *wanted]


def _with_tensorrt(settings: Config) -> list[str]:
    listed = settings.deploy.backends
    return [name for name in listed if "tensorrt" in backends.about(name).packages]


def _wants_gpu(settings: Config) -> bool:
    return settings.hardware.device != "cpu"


# --- looking at the machine ---


def _existing(path: str) -> Path:
    """``path``, or the nearest folder above it that exists."""
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _opens(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _driver_cuda() -> int | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None


def _cuda(paddle: str | None) -> int | None:
    """The major version of CUDA that PaddlePaddle needs, or else of its packages here."""
    if paddle:
        return int(paddle.partition(".")[0])
    found = packages.versions(("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"))
    versions = [version for installed in found.values() for version in installed.values()]
    return int(versions[0].partition(".")[0]) if versions else None


def _cudnn() -> int | None:
    try:
        library = ctypes.CDLL("libcudnn.so")
    except OSError:
        return None
    library.cudnnGetVersion.restype = ctypes.c_size_t
    return int(library.cudnnGetVersion())


def _paddle_tensorrt() -> tuple[int, int, int] | None:
    """The TensorRT that PaddlePaddle was built with."""
    libraries.import_paddle()
    from paddle import inference

    version = tuple(inference.get_trt_compile_version())
    return version if any(version) else None


def _tensorrt() -> tuple[str | None, str]:
    """Version of the installed TensorRT, or None and the reason if it does not load."""
    try:
        return importlib.import_module("tensorrt").__version__, ""
    except ModuleNotFoundError as error:
        return None, "" if error.name == "tensorrt" else str(error)
    except Exception as error:  # a library that it needs is missing
        return None, str(error)
