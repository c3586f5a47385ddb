"""Inference backends, each in a module of its own, all behind the same few names.

A backend module has

``PRECISIONS``
    what it can do on each kind of device: ``{"cpu": ("fp32",)}``
``SPARSE_KERNELS``
    whether it has kernels that skip the zeros of 2:4 weights
``SOURCES``
    the exported files that it reads
``build(model, out, precision, machine) -> dict``
    makes what the backend needs from the exported model in the folder ``model``, into the folder
    ``out``, and returns facts for build.json: at least ``version`` and ``files`` (the deployed
    files, whose size the comparison states)
``load(model, out, precision, machine) -> Predictor``
    makes it ready to run

Evaluation and benchmark use only these, and know nothing of which backend it is.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import TwoFourError
from ..files import read_json, sha256, write_json
from ..hardware import Hardware

BUILD, CLASSES, PADDLE_MODEL, PADDLE_WEIGHTS, ONNX = (
    "build.json",
    "classes.txt",
    "model.pdmodel",
    "model.pdiparams",
    "model.onnx",
)


class Predictor(Protocol):
    """From normalised images [N, C, H, W] float32 to class probabilities [N, classes] float32."""

    def __call__(self, images: np.ndarray) -> np.ndarray: ...


def backend(name: str):
    """The module of the backend ``name``; it may load a library, so only the one that is used."""
    return importlib.import_module(f".{name}", __package__)


def build(name: str, precision: str, model: Path, out: Path, machine: Hardware) -> dict:
    """Build the exported model in folder ``model`` for a backend, and write build.json to ``out``.

    Raises TwoFourError if the backend lacks the precision, or the model cannot be built.
    """
    module = backend(name)
    offered = module.PRECISIONS.get(machine.device, ())
    if precision not in offered:
        raise TwoFourError(
            f"deploy.precisions: {name} on the {machine.device} cannot do {precision}, only "
            f"{', '.join(offered) or 'nothing'}"
        )
    facts = module.build(model, out, precision, machine)
    record = {
        "backend": name,
        "precision": precision,
        "device": machine.device,
        "device_name": machine.name,
        "sparse_kernels": module.SPARSE_KERNELS,
        **facts,
        "size_mb": sum(Path(path).stat().st_size for path in facts["files"]) / 1e6,
        "sources": {file: sha256(model / file) for file in module.SOURCES},
    }
    write_json(out / BUILD, record)
    return record


def load(model: Path, out: Path, machine: Hardware) -> tuple[Predictor, dict]:
    """What :func:`build` built, ready to run, and its build.json.

    Raises TwoFourError if it was built from another model than the one in ``model``, or for
    another kind of device.
    """
    record = read_json(out / BUILD)
    for file, built_from in record["sources"].items():
        if sha256(model / file) != built_from:
            raise TwoFourError(
                f"{out} was not built from the present {model / file}; build it again"
            )
    if record["device"] != machine.device:
        raise TwoFourError(
            f"{out} was built for the {record['device']}, but this job runs on the "
            f"{machine.device}; build it again or set hardware.device"
        )
    predictor = backend(record["backend"]).load(model, out, record["precision"], machine)
    return predictor, record
