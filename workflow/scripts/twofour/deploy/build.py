"""Building an exported model for a backend, and loading what was built."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..artifacts import BUILD, CHECK, KEPT
from ..sparse import check
from ..system import codehash
from ..system.cli import log
from ..system.errors import TwoFourError
from ..system.files import atomic, read_json, sha256, write_json
from ..system.hardware import Machine
from ..system.lock import exclusive
from . import backends
from .backends import Predictor
from .profiles import Profile

REBUILD_S = 3600  # how long a job waits for another job to build the same engines


def code_of(name: str) -> tuple[str, str]:
    """The modules whose imports decide what the backend ``name`` makes of a model."""
    return "deploy.build", f"deploy.backends.{name}"


def build(
    name: str,
    precision: str,
    model: Path,
    out: Path,
    machine: Machine,
    batches: Iterable[Profile] = (),
    like: Path | None = None,
) -> dict:
    """Build the exported model in folder ``model`` for a backend, and write build.json to ``out``.

    ``like`` is the folder of an earlier build of the same network: if the backend keeps timings of
    kernels, these are taken from there.

    Raises TwoFourError if the backend lacks the precision or something that it needs, or the model
    cannot be built.
    """
    module, about = backends.module(name), backends.about(name)
    backends.require_precision(name, precision, machine.device)
    module.require(precision)
    batches = list(batches)
    out.mkdir(parents=True, exist_ok=True)
    (out / KEPT).unlink(missing_ok=True)
    kept = about.timings
    if like and kept and (like / kept).is_file() and not (out / kept).exists():
        with atomic(out / kept) as temporary:
            shutil.copyfile(like / kept, temporary)
    facts = module.build(model, out, precision, machine, batches)
    record = {
        "backend": name,
        "precision": precision,
        "device": machine.device,
        "device_name": machine.name,
        "sparse_kernels": about.sparse_kernels,
        "note": about.note,
        "identity": module.identity(machine),
        "code": codehash.digest(*code_of(name)),
        "batches": [[profile.smallest, profile.largest] for profile in batches],
        **facts,
        "size_mb": sum(Path(path).stat().st_size for path in facts["files"]) / 1e6,
        "sources": {file: sha256(model / file) for file in about.sources(precision)},
    }
    write_json(out / BUILD, record)
    return record


def load(model: Path, out: Path, machine: Machine) -> tuple[Predictor, dict]:
    """What :func:`build` built, ready to run, and its build.json.

    If it was built for a machine of another identity, it is built again for this one, into a
    separate folder inside ``out``. Raises TwoFourError if it was built from another model
    than the one in ``model``, or for another kind of device.
    """
    record = read_json(out / BUILD)
    _require_same_sources(record, model, out)
    if record["device"] != machine.device:
        raise TwoFourError(
            f"{out} was built for the {record['device']}, but this job runs on the "
            f"{machine.device}; build it again or set hardware.device"
        )
    module = backends.module(record["backend"])
    module.require(record["precision"])
    present = module.identity(machine)
    if record["identity"] != present:
        out, record = _built_here(record, present, model, out, machine)
    return module.load(model, out, record["precision"], machine), record


def require_sparse(out: Path, listed: list[str]) -> None:
    """Raise TwoFourError unless the layers ``listed`` are 2:4 sparse in all model files in ``out``.

    Engines are no such files. What was found is written to check.json, if there is any.
    """
    (out / CHECK).unlink(missing_ok=True)
    report = []
    for path in sorted(p for p in out.iterdir() if p.suffix in (".onnx", ".pdmodel")):
        outcome = check.judge(str(path), listed, [])
        broken = [verdict.name for verdict in outcome.verdicts if not verdict.passed]
        if broken:
            raise TwoFourError(f"{broken[0]} in {path} is not 2:4 sparse, though it should be")
        log.info("%s", check.summary(outcome))
        report.append(check.record(outcome))
    if report:
        write_json(out / CHECK, report)


def _built_here(record: dict, present: dict, model: Path, out: Path, machine: Machine):
    """(folder, build.json) of the same build for the present machine, built now if necessary."""
    key = hashlib.sha256(json.dumps(present, sort_keys=True).encode()).hexdigest()[:12]
    here = out / key
    with exclusive(here, wait=REBUILD_S):  # other jobs on this machine may need the same
        return here, _rebuilt(record, present, model, out, here, machine)


def _rebuilt(record: dict, present: dict, model: Path, out: Path, here: Path, machine: Machine):
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
