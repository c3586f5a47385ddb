"""Quantisation-aware training: a trained network learns to live with being rounded.

Its masks are kept, its batch norms keep their running statistics, and the learning rate is low. It
computes in fp32 (TF32 on GPUs that have it): rounded numbers would not survive fp16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..network import weights
from ..network.architecture import Architecture
from ..quantization.fake import Rounding, ranges
from ..sparse import masks, pattern
from ..system import sections
from ..system.errors import TwoFourError
from ..system.files import read_json, sha256
from ..system.hardware import Machine
from . import precision
from .plan import Start


def recipe(settings: Any, machine: Machine) -> Any:
    """``settings`` with the section ``train`` changed as the section ``quantization`` says."""
    chosen = settings.quantization
    kept = [name for name in precision.offered(machine) if not precision.is_half(name)]
    train = sections.replaced(
        settings.train,
        epochs=chosen.qat_epochs,
        learning_rate=chosen.qat_learning_rate,
        warmup_epochs=0,
        precision=kept[0],
        ema=0.0,
    )
    return sections.replaced(settings, train=train)


def rounding(settings: Any) -> Rounding:
    """How a network is rounded in training."""
    return Rounding(average=settings.quantization.qat_ranges == "average")


def begin(
    path: Path, kept: Path | None, calibration: Path, network: Architecture, settings: Any
) -> Start:
    """From the weights in the file ``path``, with the masks in ``kept``, and a calibration.

    Raises TwoFourError if the calibration is of another network.
    """
    state = weights.load(path)
    weights.require_shapes(state, network.state, path)
    held = masks.load(kept) if kept else {}
    pattern.require(state, held, str(path))
    limits = read_json(calibration).get("layers", {})
    names = ranges(network)
    missing = [name for name in names if name not in limits]
    if missing:
        raise TwoFourError(f"{calibration} has no range {missing[0]}; calibrate again")
    identity = {
        "start": {path.name: sha256(path), **({kept.name: sha256(kept)} if kept else {})},
        "calibration": sha256(calibration),
        "ranges": settings.quantization.qat_ranges,
    }
    return Start(
        {name: state[name] for name in network.state},
        held,
        identity,
        limits={name: float(limits[name]) for name in names},
    )
