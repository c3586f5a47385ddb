"""Inference backends, each in a module of its own, all behind the same few names.

Everything there is to know about a backend is in its module: what it can do in ``ABOUT``
(:class:`.interface.About`), and

``require(precision)``
    raises TwoFourError in one sentence if the machine lacks something that it needs
``identity(machine) -> dict``
    what the built files depend on, such as the GPU; they cannot be used where it differs
``build(model, out, precision, machine, batches) -> dict``
    makes what the backend needs from the exported model in the folder ``model``, into the folder
    ``out``, for ``batches`` (:class:`..profiles.Profile`), and returns facts for build.json: at
    least ``version`` and ``files`` (the deployed files, whose size the comparison states)
``load(model, out, precision, machine) -> Predictor``
    makes it ready to run

The configuration's schema, the doctor and the pages are made from ABOUT; evaluation and benchmark
do not depend on which backend it is. The modules load without the libraries that they use. A new
backend is a module here and its name in :data:`NAMES`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ...system import hardware
from ...system.errors import TwoFourError
from ...system.hardware import Machine
from ...system.settings import Hardware
from .interface import INT8, About, Predictor

__all__ = ["AUTO", "INT8", "NAMES", "PRECISIONS", "About", "Predictor", "about", "module"]

AUTO = "auto"  # a value of deploy.precisions

NAMES = (
    *("paddle", "onnxruntime", "openvino", "tensorrt", "tensorrt_sparse"),
    *("onnxruntime_cuda", "onnxruntime_tensorrt", "paddle_trt"),
)


def module(name: str) -> ModuleType:
    """The module of the backend ``name``."""
    return importlib.import_module(f".{name}", __package__)


def about(name: str) -> About:
    """What the backend ``name`` can do."""
    found: About = module(name).ABOUT
    return found


# Every precision that some backend has, in the order in which the backends name them.
PRECISIONS = tuple(dict.fromkeys(p for name in NAMES for p in about(name).all_precisions))


def summary() -> str:
    """The backends in words: each with its devices and what sets it apart."""
    return ", ".join(f"{name} ({about(name).summary})" for name in NAMES)


def precision_summary() -> str:
    """The backends by their precisions, in words."""
    groups: dict[str, list[str]] = {}
    for name in NAMES:
        groups.setdefault(about(name).precision_words, []).append(name)
    return "; ".join(f"{', '.join(names)}: {words}" for words, names in groups.items())


def cases(names: list[str], precisions: list[str] | str) -> list[tuple[str, str]]:
    """(backend, precision) of all that ``deploy.backends`` and ``deploy.precisions`` ask for.

    Each backend is used in those of the precisions that it has on some device. Raises TwoFourError
    for a backend that has none of them and for a precision that no backend has.
    """
    if precisions == AUTO:
        return _automatic(names)
    result = []
    for name in names:
        known = about(name).all_precisions
        offered = [precision for precision in precisions if precision in known]
        if not offered:
            raise TwoFourError(
                f"deploy.precisions lists none that {name} has: {', '.join(known)}; add one or "
                f"take {name} out of deploy.backends"
            )
        result += [(name, precision) for precision in offered]
    for precision in precisions:
        if precision not in (used for _, used in result):
            raise TwoFourError(f"deploy.precisions: none of {', '.join(names)} has {precision}")
    return result


def _automatic(names: list[str]) -> list[tuple[str, str]]:
    """The first precision of each backend (fp32, if it has it), and int8 where that can run."""
    here = bool(hardware.integer_instructions())
    result = []
    for name in names:
        known = about(name)
        result.append((name, known.all_precisions[0]))
        # Some run on a GPU if there is one, and have int8 on CPUs alone.
        lacking = known.on_gpu and INT8 not in known.precisions["gpu"] and hardware.gpus()
        if INT8 in known.all_precisions and (here or not known.on_cpu) and not lacking:
            result.append((name, INT8))
    return result


def gpus(name: str, device: str) -> int:
    """GPUs that a job of the backend ``name`` uses, for the config's ``hardware.device``."""
    known = about(name)
    return int(known.on_gpu and (device == "gpu" or (not known.on_cpu and device != "cpu")))


def target(name: str, settings: Hardware) -> Machine:
    """What the backend ``name`` runs on, for the config's section ``hardware``.

    A backend for one kind of device alone runs there, whatever the others do. Raises TwoFourError
    if that is a GPU and there is none.
    """
    known = about(name)
    if not known.on_gpu:
        return hardware.resolve(Hardware(device="cpu", threads=settings.threads))
    if known.on_cpu:
        return hardware.resolve(settings)
    if settings.device == "cpu":
        raise TwoFourError(
            f"deploy.backends lists {name}, which runs on NVIDIA GPUs only, but "
            "hardware.device is cpu; take it out or set hardware.device to auto"
        )
    present = hardware.gpus()
    if not present:
        raise TwoFourError(
            f"deploy.backends lists {name}, which needs an NVIDIA GPU, and nvidia-smi finds "
            "none on this machine; take it out or run on a machine with one"
        )
    return Machine("gpu", present[0]["name"], hardware.threads(settings.threads))


def require_precision(name: str, precision: str, device: str) -> None:
    """Raise TwoFourError if the backend ``name`` lacks the precision on this kind of device."""
    offered = about(name).precisions.get(device, ())
    if precision not in offered:
        raise TwoFourError(
            f"deploy.precisions: {name} on the {device} cannot do {precision}, only "
            f"{', '.join(offered) or 'nothing'}; take {name} out of deploy.backends, or "
            f"{precision} out of deploy.precisions"
        )


def lacks(wanted: list[tuple[str, str]], settings: Hardware) -> dict[str, str]:
    """Of the ``wanted`` (backend, precision) those backends that cannot run here, and why not."""
    reasons = {}
    for name, precision in wanted:
        if about(name).on_cpu and precision == "fp32":  # which every machine has
            continue
        try:
            require_precision(name, precision, target(name, settings).device)
            module(name).require(precision)
        except TwoFourError as error:
            reasons[name] = str(error)
    return reasons
