"""Inference backends, each in a module of its own, all behind the same few names.

A backend module has

``PRECISIONS``
    what it can do on each kind of device: ``{"cpu": ("fp32",)}``
``SPARSE_KERNELS``
    whether it may use kernels that skip the zeros of 2:4 weights
``NOTE``
    what a reader of its figures must know, or ""
``SOURCES``
    the exported files that it reads
``FOR_BATCHES``
    whether it is built for certain batch sizes
``require(precision)``
    raises TwoFourError in one sentence if the machine lacks something that it needs
``identity(machine) -> dict``
    what the built files depend on, such as the GPU; they are of no use where it differs
``build(model, out, precision, machine, batches) -> dict``
    makes what the backend needs from the exported model in the folder ``model``, into the folder
    ``out``, for ``batches`` (:class:`.profiles.Profile`), and returns facts for build.json: at
    least ``version`` and ``files`` (the deployed files, whose size the comparison states)
``load(model, out, precision, machine) -> Predictor``
    makes it ready to run

Evaluation and benchmark use only these, and know nothing of which backend it is. The modules load
without the libraries that they use.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from .. import hardware
from ..cli import log
from ..errors import TwoFourError
from ..files import read_json, sha256, write_json
from ..hardware import Hardware
from ..lock import exclusive
from ..sources import digest
from .profiles import Profile

BUILD, CLASSES, PADDLE_MODEL, PADDLE_WEIGHTS, ONNX = (
    "build.json",
    "classes.txt",
    "model.pdmodel",
    "model.pdiparams",
    "model.onnx",
)
REBUILD_S = 3600  # how long a job waits for another one's engines


class Predictor(Protocol):
    """From normalised images [N, C, H, W] float32 to class probabilities [N, classes] float32.

    One that knows how long its device computed for the last batch, without copies to and from it,
    says so in an attribute ``device_seconds``.
    """

    def __call__(self, images: np.ndarray) -> np.ndarray: ...


def backend(name: str):
    """The module of the backend ``name``."""
    return importlib.import_module(f".{name}", __package__)


def cases(settings: Mapping) -> list[tuple[str, str]]:
    """(backend, precision) of all that the config's section ``deploy`` asks for.

    Each backend is used in those of the precisions that it has on some device. Raises TwoFourError
    for a backend that has none of them and for a precision that no backend has.
    """
    found = []
    for name in settings["backends"]:
        known = _precisions(name)
        offered = [precision for precision in settings["precisions"] if precision in known]
        if not offered:
            raise TwoFourError(
                f"deploy.precisions lists none that {name} has: {', '.join(known)}; add one or "
                f"take {name} out of deploy.backends"
            )
        found += [(name, precision) for precision in offered]
    for precision in settings["precisions"]:
        if precision not in (used for _, used in found):
            raise TwoFourError(
                f"deploy.precisions: none of {', '.join(settings['backends'])} has {precision}"
            )
    return found


def _precisions(name: str) -> list[str]:
    every = [p for offered in backend(name).PRECISIONS.values() for p in offered]
    return list(dict.fromkeys(every))


def for_batches(name: str) -> bool:
    """Whether the backend ``name`` is built for certain batch sizes."""
    return backend(name).FOR_BATCHES


def gpus(name: str, device: str) -> int:
    """GPUs that a job of the backend ``name`` uses, for the config's ``hardware.device``."""
    known = set(backend(name).PRECISIONS)
    return int("gpu" in known and (device == "gpu" or (known == {"gpu"} and device != "cpu")))


def place(name: str, settings: Mapping) -> Hardware:
    """What the backend ``name`` runs on, for the config's section ``hardware``.

    A backend that knows one kind of device runs there, whatever the others do. Raises TwoFourError
    if that is a GPU and there is none.
    """
    devices = set(backend(name).PRECISIONS)
    if devices == {"cpu"}:
        return hardware.resolve({**settings, "device": "cpu"})
    if devices == {"gpu"}:
        if settings["device"] == "cpu":
            raise TwoFourError(
                f"deploy.backends lists {name}, which runs on NVIDIA GPUs only, but "
                "hardware.device is cpu; take it out or set hardware.device to auto"
            )
        found = hardware.gpus()
        if not found:
            raise TwoFourError(
                f"deploy.backends lists {name}, which needs an NVIDIA GPU, and nvidia-smi finds "
                "none on this machine; take it out or run on a machine with one"
            )
        return Hardware("gpu", found[0]["name"], hardware.threads(settings["threads"]))
    return hardware.resolve(dict(settings))


def lacks(settings: Mapping) -> dict[str, str]:
    """Of the whole config's backends those that cannot run here, and why not."""
    found = {}
    for name, precision in cases(settings["deploy"]):
        module = backend(name)
        if "cpu" in module.PRECISIONS and precision == "fp32":  # which every machine has
            continue
        try:
            place(name, settings["hardware"])
            module.require(precision)
        except TwoFourError as error:
            found[name] = str(error)
    return found


def build(
    name: str,
    precision: str,
    model: Path,
    out: Path,
    machine: Hardware,
    batches: Iterable[Profile] = (),
) -> dict:
    """Build the exported model in folder ``model`` for a backend, and write build.json to ``out``.

    Raises TwoFourError if the backend lacks the precision or something that it needs, or the model
    cannot be built.
    """
    module = backend(name)
    offered = module.PRECISIONS.get(machine.device, ())
    if precision not in offered:
        raise TwoFourError(
            f"deploy.precisions: {name} on the {machine.device} cannot do {precision}, only "
            f"{', '.join(offered) or 'nothing'}"
        )
    module.require(precision)
    batches = list(batches)
    out.mkdir(parents=True, exist_ok=True)
    facts = module.build(model, out, precision, machine, batches)
    record = {
        "backend": name,
        "precision": precision,
        "device": machine.device,
        "device_name": machine.name,
        "sparse_kernels": module.SPARSE_KERNELS,
        "note": module.NOTE,
        "identity": module.identity(machine),
        "code": digest("build.py", f"deploy.{name}"),
        "batches": [[profile.smallest, profile.largest] for profile in batches],
        **facts,
        "size_mb": sum(Path(path).stat().st_size for path in facts["files"]) / 1e6,
        "sources": {file: sha256(model / file) for file in module.SOURCES},
    }
    write_json(out / BUILD, record)
    return record


def load(model: Path, out: Path, machine: Hardware) -> tuple[Predictor, dict]:
    """What :func:`build` built, ready to run, and its build.json.

    Where the present machine is not of the identity that it was built for, it is built again, into
    a folder of its own inside of ``out``. Raises TwoFourError if it was built from another model
    than the one in ``model``, or for another kind of device.
    """
    record = read_json(out / BUILD)
    _require_same_sources(record, model, out)
    if record["device"] != machine.device:
        raise TwoFourError(
            f"{out} was built for the {record['device']}, but this job runs on the "
            f"{machine.device}; build it again or set hardware.device"
        )
    module = backend(record["backend"])
    module.require(record["precision"])
    present = module.identity(machine)
    if record["identity"] != present:
        out, record = _built_here(record, present, model, out, machine)
    return module.load(model, out, record["precision"], machine), record


def _built_here(record: dict, present: dict, model: Path, out: Path, machine: Hardware):
    """(folder, build.json) of the same build for the present machine, made now if need be."""
    key = hashlib.sha256(json.dumps(present, sort_keys=True).encode()).hexdigest()[:12]
    here = out / key
    with exclusive(here, wait=REBUILD_S):  # other jobs of this machine may want the same
        return here, _rebuilt(record, present, model, out, here, machine)


def _rebuilt(record: dict, present: dict, model: Path, out: Path, here: Path, machine: Hardware):
    if (here / BUILD).is_file():
        known = read_json(here / BUILD)
        same = all(known.get(key) == record[key] for key in ("sources", "batches", "code"))
        if same and known["identity"] == present:
            return known
    changed = [key for key in present if present[key] != record["identity"].get(key)]
    log.warning(
        "%s was built for %s, and this machine has %s: building again, into %s",
        out,
        ", ".join(f"{key} {record['identity'].get(key)}" for key in changed),
        ", ".join(f"{key} {present[key]}" for key in changed),
        here,
    )
    batches = [Profile(*pair) for pair in record["batches"]]
    return build(record["backend"], record["precision"], model, here, machine, batches)


def _require_same_sources(record: dict, model: Path, out: Path) -> None:
    for file, built_from in record["sources"].items():
        if sha256(model / file) != built_from:
            raise TwoFourError(
                f"{out} was not built from the present {model / file}; build it again"
            )


def sparse_layers(record: Mapping, layers: Iterable[str]) -> dict[str, tuple[bool, bool]] | None:
    """Which of the network's ``layers`` could use and do use sparse kernels, from build.json.

    Returns {layer: (eligible in some engine, picked in some engine)}, or None where the backend
    does not say. TensorRT fuses layers and joins their names: "layer1.0.conv1 + layer1.0.relu1".
    """
    engines = record.get("engines", {}).values()
    named = [e for e in engines if e["eligible"] is not None and e["picked"] is not None]
    if not named:
        return None
    found = [
        {part for e in named for name in e[key] for part in re.split(r"[\s+|]+", name)}
        for key in ("eligible", "picked")
    ]
    return {layer: (layer in found[0], layer in found[1]) for layer in layers}
