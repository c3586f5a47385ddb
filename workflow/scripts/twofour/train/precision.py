"""In which arithmetic a training computes on which machine."""

from __future__ import annotations

from ..system.errors import TwoFourError
from ..system.hardware import Machine

# Compute capability from which a GPU has tensor cores for fp16, and for TF32 and bf16.
_TENSOR_CORES, _AMPERE = (7, 0), (8, 0)

# PaddlePaddle's level and type. O1 casts for the operators of its white list and keeps fp32
# weights; O2 holds the weights in fp16 and fp32 "master" copies of them that the optimiser updates.
LEVELS = {
    "amp_fp16": ("O1", "float16"),
    "amp_bf16": ("O1", "bfloat16"),
    "pure_fp16": ("O2", "float16"),
}


def is_half(precision: str) -> bool:
    """Whether ``precision``, a name of the config's ``train.precision``, computes in 16 bits."""
    return precision in LEVELS


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
