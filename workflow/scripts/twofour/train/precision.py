"""In which arithmetic a training computes on which machine."""

from __future__ import annotations

from ..system.errors import TwoFourError
from ..system.hardware import Machine

# Compute capability from which a GPU has tensor cores for fp16, and for TF32 and bf16.
_TENSOR_CORES, _AMPERE = (7, 0), (8, 0)


def offered(machine: Machine) -> tuple[str, ...]:
    """What training can do on ``machine``, best first."""
    if machine.device == "cpu":
        return ("fp32",)
    if machine.capability >= _AMPERE:
        return ("amp_fp16", "pure_fp16", "amp_bf16", "tf32", "fp32")
    if machine.capability >= _TENSOR_CORES:
        return ("amp_fp16", "pure_fp16", "fp32")
    return ("fp32",)


def choose(setting: str, machine: Machine) -> str:
    """The precision that training uses for the config's ``train.precision``.

    Raises TwoFourError if one is asked for by name that the machine cannot do.
    """
    known = offered(machine)
    if setting == "auto":
        return known[0]
    if setting not in known:
        raise TwoFourError(
            f"train.precision is {setting}, but training on this {machine.device} "
            f"({machine.name}) can do only {', '.join(known)}; set it to auto or one of these"
        )
    return setting
