"""ONNX Runtime's providers for NVIDIA GPUs: loading them, and the proof that they compute."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...quantization.onnx_graph import WEIGHTED
from ...system import fatbin
from ...system.errors import TwoFourError
from ...system.files import read_json, scratch
from ...system.hardware import Machine
from .. import cuda
from . import onnxruntime as ort
from .onnxruntime import CPU

Options = Mapping[str, str]


def require(backend: str, provider: str) -> None:
    """Raise TwoFourError if the installed ONNX Runtime has not the ``provider``."""
    try:
        import onnxruntime
    except ImportError as error:
        raise TwoFourError(_remedy(backend, f"which does not load here ({error})")) from error
    if provider not in onnxruntime.get_available_providers():
        raise TwoFourError(_remedy(backend, "and the one here is for CPUs"))


def require_code(backend: str, provider: str, machine: Machine) -> None:
    """Raise TwoFourError if the ``provider`` has no code for the GPU, by its library.

    ONNX Runtime would say so in the middle of a batch. (onnxruntime-gpu 1.31 has none for 10.0.)
    """
    code, ptx = fatbin.architectures(_library(provider))
    if not fatbin.fits(code, ptx, cuda.capability()):
        raise TwoFourError(
            f"the {provider} of the installed onnxruntime-gpu has no code for the {machine.name}, "
            f"only for compute capability {fatbin.listed(code)}; take {backend} out of "
            "deploy.backends, or install another onnxruntime-gpu"
        )


def session(backend: str, path: Path, provider: str, options: Options, **settings: Any) -> Any:
    """The ONNX file, ready to run by the ``provider``; TwoFourError if that does not load."""
    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()):  # it tells of libraries that nobody needs
        onnxruntime.preload_dlls(directory="")  # CUDA's, from the packages
    onnxruntime.set_default_logger_severity(4)  # it would print the reason, in colours
    given = [(provider, dict(options)), CPU]
    reason = ""
    try:
        found = ort.session(path, threads=1, providers=given, **settings)
        if provider in found.get_providers():  # some releases leave it out without an error
            return found
    except TwoFourError as error:
        reason = str(error)
    raise TwoFourError(
        _remedy(backend, f"whose {provider} does not start: {_why(provider, reason)}")
    )


def proof(
    backend: str, path: Path, provider: str, options: Options, shape: tuple[int, ...]
) -> dict[str, int]:
    """{provider: operators that it runs}, by ONNX Runtime's own profile of a batch of ``shape``.

    What a provider cannot compute goes to the CPU without a word; TwoFourError if that is one with
    weights. The few that only handle shapes belong there.
    """
    with scratch(path.parent) as folder:
        settings = {"enable_profiling": True, "profile_file_prefix": str(folder / "profile")}
        opened = session(backend, path, provider, options, **settings)
        ort.predictor(opened)(np.zeros(shape, np.float32))
        events = read_json(Path(opened.end_profiling()))
    return placed(events, backend)


def placed(events: list[dict], backend: str) -> dict[str, int]:
    """{provider: operators that it ran} of a profile's ``events``; TwoFourError as in proof."""
    counts: dict[str, int] = {}
    for event in events:
        ran = event.get("args", {})
        if event.get("cat") != "Node" or not ran.get("provider"):
            continue
        kind = str(ran.get("op_name"))
        if ran["provider"] == CPU and any(name in kind for name in WEIGHTED):
            raise TwoFourError(
                f"{backend}: ONNX Runtime computes {kind} on the CPU instead of the GPU; take "
                f"{backend} out of deploy.backends"
            )
        counts[ran["provider"]] = counts.get(ran["provider"], 0) + 1
    return counts


def _remedy(backend: str, why: str) -> str:
    return (
        f"the backend {backend} needs the package onnxruntime-gpu, {why}; use the environment of "
        f"envs/deploy-gpu (make run ENV=deploy-gpu), or take {backend} out of deploy.backends"
    )


def _library(provider: str) -> Path:
    import onnxruntime

    kind = provider.removesuffix("ExecutionProvider").lower()
    return Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{kind}.so"


def _why(provider: str, reason: str) -> str:
    """Why a provider does not start: the library that is missing, or what ``reason`` says."""
    try:
        ctypes.CDLL(str(_library("shared")), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(_library(provider)))
    except OSError as missing:
        return str(missing)
    known = r"(CUDA|CUDNN|CUBLAS) failure \d+: [^;]+|Unknown provider option: \S+"
    told = re.search(known, reason)
    last = reason.rpartition("]")[2].strip().rstrip(".")
    return told[0].strip() if told else last or "the GPU or its driver cannot be used"
