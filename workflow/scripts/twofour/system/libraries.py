"""Loading the libraries that compute, in the one order that works, set up for the machine.

First the numbers of threads, which math libraries read once, when they are loaded; then
PaddlePaddle; then DALI. (The last two bring an OpenMP library each, and the first to load wins.)
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping

from . import hardware, paddle_versions
from .cli import log
from .hardware import Machine
from .settings import Hardware

# Without the first, batch norm in fp16 turns NHWC into NCHW and back on GPUs.
_GPU_FLAGS = {
    "FLAGS_cudnn_batchnorm_spatial_persistent": "1",
    "FLAGS_cudnn_exhaustive_search": "1",  # the fastest algorithm of each convolution, by trying
    "FLAGS_conv_workspace_size_limit": "4096",  # MB that it may use
}
# PaddlePaddle runs operators that do not need each other at the same time, each with threads of its
# own: on CPUs that takes three times the memory and up to half the speed (benchmarks/README.md).
_CPU_FLAGS = {"FLAGS_new_executor_serial_run": "1"}
# What users may set: how much memory PaddlePaddle takes, and which GPU its launcher gives.
_USERS_FLAGS = re.compile(r"FLAGS_(selected_gpus|allocator_strategy|.*_memory_.*|.*_dir)")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # constants of glibc's malloc.h
_ORDER = "CUDA_DEVICE_ORDER"  # CUDA's own is the fastest first, nvidia-smi's is by the bus


def start(settings: Hardware, training: bool = False) -> Machine:
    """Load PaddlePaddle for the config's section ``hardware``. Returns the resolved hardware."""
    machine = prepare(settings, training)
    import_paddle()
    return machine


def prepare(settings: Hardware, training: bool = False) -> Machine:
    """Set this process up for the config's section ``hardware``: its threads and memory use.

    The math libraries read the number of threads once, when they are loaded: call this before
    anything else imports one. Returns the resolved hardware.
    """
    machine = hardware.resolve(settings, training)
    number = str(machine.threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = number
    if machine.device == "cpu":
        _keep_freed_memory()
    flags = {**paddle_versions.FLAGS, **(_GPU_FLAGS if machine.device == "gpu" else _CPU_FLAGS)}
    _clear_flags(flags)
    os.environ.update(flags)
    os.environ.setdefault(_ORDER, "PCI_BUS_ID")
    return machine


def _clear_flags(ours: Mapping[str, str]) -> None:
    """Take PaddlePaddle's flags out of the environment, and say so, but for ``ours``.

    Some break training (FLAGS_use_mkldnn), some change results, and none is part of what decides
    whether a stage runs again.
    """
    cleared = []
    for name, value in sorted(os.environ.items()):
        if name.startswith("FLAGS_") and not _USERS_FLAGS.fullmatch(name):
            if ours.get(name) != value:
                cleared.append(f"{name}={value}")
            del os.environ[name]
    if cleared:
        log.warning("note: ignoring %s of the environment", ", ".join(cleared))


def keep_tensors() -> None:
    """Keep PaddlePaddle from freeing tensors within a step; the next step reuses them.

    Its bookkeeping takes a tenth to a quarter of the time of a small network on a CPU.
    """
    import paddle

    paddle.set_flags({"FLAGS_eager_delete_tensor_gb": -1.0})


def _keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, to be used again.

    The C library returns large blocks at once, and the kernel zeroes each new one, which takes
    a fifth of the time of training a large network on a CPU, and a tenth of that of reading its
    images. Only glibc is known to do so.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def set_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 in PaddlePaddle's fp32 arithmetic (GPU builds only)."""
    from paddle.base import core

    core.set_cublas_switch(allowed)
    core.set_cudnn_switch(allowed)


@contextlib.contextmanager
def without_tf32(machine: Machine) -> Iterator[None]:
    """True fp32 arithmetic on ``machine``, without TF32, whatever was allowed before."""
    allowed = machine.device == "gpu" and tf32_allowed()
    if allowed:
        set_tf32(False)
    try:
        yield
    finally:
        if allowed:
            set_tf32(True)


def tf32_allowed() -> bool:
    """Whether PaddlePaddle's fp32 arithmetic may round to TF32; never so in a build for CPUs."""
    from paddle.base import core

    if hardware.paddle_cuda() is None:
        return False
    return bool(core.get_cublas_switch() and core.get_cudnn_switch())


def import_paddle() -> None:
    """Load PaddlePaddle quietly, without its signal handlers and without TF32.

    The handlers print pages when a job is told to stop, and can hang while they do; so signals are
    blocked until the handlers are switched off.
    """
    if "paddle" in sys.modules:
        return
    # PaddlePaddle 2.6's library exports a zlib of its own, on which the system's would call, and
    # crash, if it were loaded later.
    import zlib  # noqa: F401

    os.environ.setdefault("GLOG_minloglevel", "2")  # its own notices
    os.environ.update(paddle_versions.FLAGS)
    waiting = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it warns of any number of threads above 1
            import paddle
        paddle.disable_signal_handler()
        paddle_versions.hide_notices()
        if hardware.paddle_cuda() is not None:
            set_tf32(False)  # unless a training asks for it
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
