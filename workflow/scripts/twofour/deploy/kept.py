"""What was found of a build, kept beside it for the next job that evaluates the model.

All builds of a model are evaluated in one job, which Snakemake runs again, without its former
outputs, when any of them is new. It must not cost the accuracy of the others again.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import atomic, read_arrays
from .predicted import Predictions


def read(path: Path, key: str) -> tuple[dict[str, Any], Predictions] | None:
    """What :func:`write` kept there under the same ``key``; None also if it is damaged."""
    try:
        arrays = read_arrays(path, "key", "result", "labels", "probabilities")
        if str(arrays["key"]) != key:
            return None
        result = json.loads(str(arrays["result"]))
    except (TwoFourError, json.JSONDecodeError):
        return None
    return result, Predictions(arrays["labels"], arrays["probabilities"])


def write(path: Path, key: str, result: dict[str, Any], found: Predictions) -> None:
    """Keep what was found under a ``key``, which stands for all that decides it; or don't.

    Where it cannot be written, the next job evaluates again.
    """
    with (
        contextlib.suppress(TwoFourError, OSError),
        atomic(path) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez_compressed(
            file,
            key=np.array(key),
            result=np.array(json.dumps(result)),
            labels=found.labels,
            probabilities=found.probabilities,
        )
