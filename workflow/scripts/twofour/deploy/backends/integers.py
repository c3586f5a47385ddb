"""What int8 has in common in all backends: what the processor needs, and the proof that it ran."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from ...system.errors import TwoFourError
from ...system.hardware import cpu_name, integer_instructions

# What caps the instructions that oneDNN uses, in OpenVINO and PaddlePaddle, and caps below VNNI.
_CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_WITHOUT = ("SSE41", "AVX", "AVX2", "AVX512_CORE")


def require(name: str, capped: bool = False) -> None:
    """Raise TwoFourError if the processor does not compute with 8-bit integers exactly.

    ``capped`` is for backends with oneDNN, which variables of the environment can keep from it.
    """
    if not integer_instructions():
        raise TwoFourError(
            f"deploy.precisions lists int8, but {name} needs a processor with VNNI or AMX for it, "
            f"and the {cpu_name()} has neither: results would be ten times less exact, at half the "
            "gain; take it out or run on another machine"
        )
    for variable in _CAPS if capped else ():
        if os.environ.get(variable, "").upper() in _WITHOUT:
            raise TwoFourError(
                f"deploy.precisions lists int8, but {variable}={os.environ[variable]} keeps {name} "
                "from the processor's VNNI; unset it"
            )


def proof(name: str, wanted: Iterable[str], ran: Collection[str]) -> dict[str, int]:
    """What build.json says: how many convolutions computed with integers.

    Raises TwoFourError, which names them, if some of the ``wanted`` are not among those that
    ``ran`` so.
    """
    layers = list(wanted)
    fell_back = [layer for layer in layers if layer not in ran]
    if fell_back:
        more = f" and {len(fell_back) - 3} more" if len(fell_back) > 3 else ""
        raise TwoFourError(
            f"{name} computes {', '.join(fell_back[:3])}{more} of {len(layers)} quantised "
            "convolutions in floating point; leave int8 out of deploy.precisions for it"
        )
    return {"quantised_convolutions": len(layers)}
