"""The few parts of CUDA that an engine needs: memory, copies, streams, events, on the first GPU.

Through NVIDIA's cuda-python (its driver API, the same in versions 11 to 13).
"""

from __future__ import annotations

import ctypes

import numpy as np

from ..system.errors import TwoFourError
from ..system.hardware import Machine

# The compute capability from which on a GPU has each precision (TensorRT's support matrices).
SINCE = {"fp32": (0, 0), "tf32": (8, 0), "fp16": (7, 0), "bf16": (8, 0), "int8": (6, 1)}
_context = None


def require() -> None:
    """Raise TwoFourError if cuda-python or a GPU with its driver is missing."""
    try:
        _call(_driver().cuInit(0))
    except RuntimeError as error:  # cuda-python's, where there is no libcuda
        raise TwoFourError(f"the NVIDIA driver cannot be used: {error}") from error
    if _call(_driver().cuDeviceGetCount()) == 0:
        raise TwoFourError("this machine has no NVIDIA GPU that CUDA can use")


def start() -> None:
    """Use the first GPU, in the context that all CUDA libraries of this process share."""
    global _context
    if _context is None:
        require()
        driver = _driver()
        _context = _call(driver.cuDevicePrimaryCtxRetain(_call(driver.cuDeviceGet(0))))
        _call(driver.cuCtxSetCurrent(_context))


def device() -> dict[str, str]:
    """Name and compute capability of CUDA's first GPU, on which engines depend.

    nvidia-smi may number GPUs differently, and ignores CUDA_VISIBLE_DEVICES.
    """
    require()
    driver = _driver()
    number = _call(driver.cuDeviceGet(0))
    name = _call(driver.cuDeviceGetName(256, number))
    kinds = driver.CUdevice_attribute
    parts = (
        kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    )
    capability = [str(_call(driver.cuDeviceGetAttribute(part, number))) for part in parts]
    return {
        "gpu": name.split(b"\0")[0].decode(),
        "compute_capability": ".".join(capability),
    }


def capability() -> tuple[int, int]:
    """The compute capability of CUDA's first GPU."""
    major, minor = device()["compute_capability"].split(".")
    return int(major), int(minor)


def require_fast(precision: str, machine: Machine) -> None:
    """Raise TwoFourError unless the GPU computes fast in ``precision``."""
    present = capability()
    if present < SINCE[precision]:
        offered = ", ".join(name for name, since in SINCE.items() if present >= since)
        raise TwoFourError(
            f"deploy.precisions: the {machine.name} has no fast {precision}, only {offered}"
        )


def pinned(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array in pinned memory, from and to which the GPU can copy asynchronously."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    address = int(_call(_driver().cuMemAllocHost(size)))
    buffer = (ctypes.c_byte * size).from_address(address)
    return np.frombuffer(buffer, dtype=dtype).reshape(shape)


def allocate(size: int):
    """``size`` bytes on the GPU."""
    return _call(_driver().cuMemAlloc(size))


def stream():
    """A queue of work for the GPU that does not wait for other queues."""
    driver = _driver()
    return _call(driver.cuStreamCreate(int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING)))


def event():
    """An event that marks a point in a queue."""
    return _call(_driver().cuEventCreate(0))


def to_device(target, source: np.ndarray, queue) -> None:
    """Queue a copy of the pinned array ``source`` to the GPU."""
    _call(_driver().cuMemcpyHtoDAsync(target, source.ctypes.data, source.nbytes, queue))


def to_host(target: np.ndarray, source, queue) -> None:
    """Queue a copy from the GPU into the pinned array ``target``."""
    _call(_driver().cuMemcpyDtoHAsync(target.ctypes.data, source, target.nbytes, queue))


def record(mark, queue) -> None:
    """Put the event ``mark`` into the queue."""
    _call(_driver().cuEventRecord(mark, queue))


def synchronize(queue) -> None:
    """Wait until the queue is empty."""
    _call(_driver().cuStreamSynchronize(queue))


def seconds(begin, end) -> float:
    """Seconds between two completed events."""
    return _call(_driver().cuEventElapsedTime(begin, end)) / 1000


def _driver():
    try:
        try:
            from cuda.bindings import driver
        except ImportError:  # cuda-python 11
            from cuda import cuda as driver
    except ImportError as error:
        raise TwoFourError(
            f"GPUs need the package cuda-python, which does not load here ({error}); install it "
            "(make run ENV=deploy-gpu does), or take the backends for GPUs out of deploy.backends"
        ) from error
    return driver


def _call(answer):
    """The value of a driver call; TwoFourError where it reports an error."""
    status, *values = answer
    if int(status) != 0:
        _, text = _driver().cuGetErrorString(status)
        reason = text.decode() if isinstance(text, bytes) else str(status)
        raise TwoFourError(f"the NVIDIA driver reports: {reason}")
    return values[0] if len(values) == 1 else values
