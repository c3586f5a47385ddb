"""A finished model in a folder, used on its own: without a configuration, dataset or training.

The folder is deploy/<model> or release/<model> of a run, or a copy of it: model.json says how
images become the network's input, and its subfolders hold the builds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from ..artifacts import BUILD, DESCRIPTION
from ..data.settings import Data
from ..system.errors import TwoFourError
from ..system.files import read_json
from ..system.settings import Hardware
from . import backends

# Which build is used if none is asked for, where it runs: the fastest kinds first.
_FASTEST = (
    *("tensorrt_sparse", "tensorrt", "onnxruntime_tensorrt", "onnxruntime_cuda"),
    *("onnxruntime", "openvino"),
)
PREFERRED = (*_FASTEST, *(name for name in backends.NAMES if name not in _FASTEST))


_THREE = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "number"}}
_SIDE = {"type": "integer", "minimum": 1, "maximum": 65536}
# What must be in model.json, and in build.json.
_DESCRIBED = {
    "type": "object",
    "required": ["model", "input", "output", "classes"],
    "properties": {
        "model": {"type": "string"},
        "classes": {"type": "array", "minItems": 2, "items": {"type": "string"}},
        "input": {
            "type": "object",
            "required": [
                *("shape", "centre_crop", "resize_shorter_side"),
                *("mean", "std", "exif_orientation"),
            ],
            "properties": {
                "shape": {
                    "type": "array",
                    "prefixItems": [{}, {"enum": [3, 4]}, _SIDE, _SIDE],
                    "minItems": 4,
                },
                "centre_crop": _SIDE,
                "resize_shorter_side": _SIDE,
                "mean": _THREE,
                "std": {**_THREE, "items": {"type": "number", "exclusiveMinimum": 0}},
                "exif_orientation": {"enum": ["applied", "ignored"]},
            },
        },
    },
}
_BUILT = {
    "type": "object",
    "required": ["backend", "precision", "device", "identity", "code", "batches", "sources"],
    "properties": {
        "backend": {"enum": list(backends.NAMES)},
        "precision": {"enum": list(backends.PRECISIONS)},
        "device": {"enum": ["cpu", "gpu"]},
        "identity": {"type": "object"},
        "batches": {"type": "array"},
        "sources": {"type": "object"},
    },
}


@dataclass(frozen=True)
class Finished:
    """The model in ``folder``: what its model.json says, and its builds by (backend, precision)."""

    folder: Path
    about: dict[str, Any]
    builds: dict[tuple[str, str], Path]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the outputs."""
        return list(self.about["classes"])

    @property
    def channels(self) -> int:
        """Channels of the input, 3 or 4."""
        return int(self.about["input"]["shape"][1])

    @property
    def turns(self) -> bool:
        """Whether images are turned as their EXIF orientation says."""
        return bool(self.about["input"]["exif_orientation"] == "applied")

    def data(self) -> Data:
        """The section ``data`` of a configuration with the same preprocessing."""
        given = self.about["input"]
        return Data(
            image_size=given["centre_crop"],
            resize=given["resize_shorter_side"],
            mean=given["mean"],
            std=given["std"],
            exif="apply" if self.turns else "ignore",
        )


def find(path: Path) -> Finished:
    """The model in the folder ``path``, or in that of the file ``path``.

    Raises TwoFourError, which lists the models that it sees, if there is none.
    """
    folder = path.parent if path.is_file() else path
    if not (folder / DESCRIPTION).is_file():
        raise TwoFourError(_none(path, folder))
    about = _checked(folder / DESCRIPTION, _DESCRIBED)
    given = about["input"]
    if not given["shape"][2] == given["shape"][3] == given["centre_crop"]:
        raise TwoFourError(f"{folder / DESCRIPTION}: centre_crop is not the size in input.shape")
    if given["resize_shorter_side"] < given["centre_crop"]:
        raise TwoFourError(f"{folder / DESCRIPTION}: resize_shorter_side is below centre_crop")
    if about["output"].get("shape", [0])[-1] != len(about["classes"]):
        raise TwoFourError(f"{folder / DESCRIPTION}: classes are not as many as the outputs")
    builds: dict[tuple[str, str], Path] = {}
    for found in sorted(folder.glob(f"*/{BUILD}")):
        record = _checked(found, _BUILT)
        builds[record["backend"], record["precision"]] = found.parent
    finished = Finished(folder, about, builds)
    if not builds:
        raise TwoFourError(
            f"{folder} holds no build of the model for a backend (a folder such as "
            f"onnxruntime-fp32 with {BUILD}); copy these, too"
        )
    return finished


def _checked(path: Path, schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON file ``path``; TwoFourError unless it has what ``schema`` says."""
    value: dict[str, Any] = read_json(path)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    error = next(iter(sorted(errors, key=lambda e: list(map(str, e.path)))), None)
    if error is not None:
        where = ".".join(map(str, error.absolute_path)) or "the file"
        reason = error.message if len(error.message) <= 100 else f"{error.message[:97]}..."
        raise TwoFourError(f"{path} is damaged: {where}: {reason}; make it again with make run")
    return value


def _none(path: Path, folder: Path) -> str:
    if not path.exists():
        return f"there is no {path}; name the folder of a model, such as results/demo/deploy/sparse"
    seen = sorted(str(found.parent) for found in folder.glob(f"**/deploy/**/{DESCRIPTION}"))[:6]
    beneath = f"; below it are {', '.join(seen)}" if seen else ""
    return f"{folder} is not the folder of a model, since it has no {DESCRIPTION}{beneath}"


def choose(
    model: Finished, backend: str | None, precision: str | None, hardware: Hardware
) -> tuple[str, str]:
    """The (backend, precision) to use: what was asked for, or the first preferred that runs here.

    Raises TwoFourError if there is none.
    """
    fitting = [
        case
        for case in sorted(model.builds, key=lambda case: PREFERRED.index(case[0]))
        if backend in (None, case[0]) and precision in (None, case[1])
    ]
    present = ", ".join(f"{name} {kind}" for name, kind in model.builds)
    if not fitting:
        asked = " ".join(filter(None, (backend, precision)))
        raise TwoFourError(f"{model.folder} has not been built for {asked}, only for {present}")
    reasons = []
    for case in fitting:
        reason = backends.lacks([case], hardware).get(case[0])
        if reason is None and case[0] in _runnable(hardware):
            return case
        reasons.append(reason or f"{case[0]} does not run on the {hardware.device}")
    raise TwoFourError(reasons[0])


def _runnable(hardware: Hardware) -> list[str]:
    if hardware.device == "auto":
        return list(backends.NAMES)
    on = {"cpu": "on_cpu", "gpu": "on_gpu"}[hardware.device]
    return [name for name in backends.NAMES if getattr(backends.about(name), on)]
