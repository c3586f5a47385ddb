"""Conditions without which a training stops with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..system.errors import TwoFourError

REMEDY = "lower train.learning_rate or raise train.warmup_epochs (the last good checkpoint stays)"
_FAULT = "this is a bug in the program, please report it"


def require_precision(found: str, wanted: str) -> None:
    """Raise TwoFourError unless the graph computes in the precision that was asked for."""
    if found != wanted:
        raise TwoFourError(
            f"train.precision is {wanted}, but the training graph computes in {found}; {_FAULT}"
        )


def require_finite_loss(
    total: float, where: str, rate: float, loss_scale: float, precision: str
) -> None:
    """Raise TwoFourError if the sum of the training losses is not finite; ``where`` that began."""
    if not np.isfinite(total):
        raise TwoFourError(
            f"the training loss is {total} {where}, at learning rate {rate:.4g} and loss scale "
            f"{loss_scale:g} ({precision}); {REMEDY}"
        )


def require_finite_validation(loss: float, epoch: int, rate: float) -> None:
    """Raise TwoFourError if the validation loss after ``epoch`` is not finite."""
    if not np.isfinite(loss):
        raise TwoFourError(
            f"the validation loss is {loss} after epoch {epoch}, at learning rate {rate:.4g}; "
            f"{REMEDY}"
        )


def require_rate(used: float, wanted: float) -> None:
    """Raise TwoFourError unless the graph used the learning rate of the schedule.

    A scheduler that the executor no longer reads leaves the rate at 0, silently.
    """
    if not np.isclose(used, wanted, rtol=1e-5, atol=1e-12):
        raise TwoFourError(
            f"the graph used learning rate {used:.6g} where the schedule says {wanted:.6g}; "
            f"{_FAULT}"
        )


def require_movement(movement: float, fastest: float, warmup_epochs: float) -> None:
    """Raise TwoFourError if the weights have not changed; ``fastest`` is the highest rate."""
    if movement == 0.0 and fastest == 0.0:
        raise TwoFourError(
            "the training ended before its learning rate rose above 0: lower train.warmup_epochs, "
            f"which is {warmup_epochs:g}, raise train.epochs, or lower train.batch_size for more "
            "steps in an epoch"
        )
    if movement == 0.0:
        raise TwoFourError(
            "training did not move a single convolution weight, at learning rates up to "
            f"{fastest:.3g}: raise train.learning_rate if that is too low; otherwise {_FAULT}"
        )


def require_same_begin(begins: Sequence[np.ndarray], out: Path) -> None:
    """Raise TwoFourError unless all processes begin at the same (epoch, step, sum of weights)."""
    if any((begin != begins[0]).any() for begin in begins):
        raise TwoFourError(
            f"the processes of this training begin differently, some at epoch "
            f"{', '.join(f'{b[0] + 1:.0f}, step {b[1]:.0f}' for b in begins)}; do all of them "
            f"see the same files in {out}?"
        )
