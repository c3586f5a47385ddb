"""certificate.json of a release: what it is, how it was proven, and whether it is still that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..artifacts import (
    CERTIFICATE,
    CHECK,
    CHECKSUMS,
    ONNX,
    PADDLE_MODEL,
    PROVENANCE,
    QUANTIZED_CHECK,
    SPARSITY,
    WEIGHTS,
)
from ..models import Model
from ..sparse import check
from ..system.errors import TwoFourError
from ..system.files import read_json, read_text, sha256

VERIFY = "twofour verify ."
PROVEN = (PADDLE_MODEL, ONNX)  # files of every release in which 2:4 can be read again
# What build.json says of the kernels that run.
KERNELS = ("engines", "quantised_convolutions", "operators")


def make(
    results: Path,
    out: Path,
    model: Model,
    accuracy: Iterable[Mapping[str, Any]],
    proven: Sequence[Mapping[str, Any]] | None,
    records: Mapping[str, Mapping[str, Any]],
    written: Iterable[Path],
) -> dict[str, Any]:
    """What certificate.json says of the release of ``model`` in the folder ``out``.

    ``accuracy`` are rows with the interval of top-1, ``proven`` the :func:`hops`, ``records`` the
    build.json of each case, and ``written`` the release's files, whose hashes it holds.
    """
    provenance = read_json(results / PROVENANCE)
    return {
        "run": provenance["config"]["run"],
        "model": model.name,
        "note": model.note,
        "verify": VERIFY,
        "files": {path.relative_to(out).as_posix(): sha256(path) for path in sorted(written)},
        "accuracy": [
            {key: row[key] for key in ("backend", "precision", "images", "top1", "top5")}
            | {"top1_interval_95": [row["top1_low"], row["top1_high"]]}
            for row in accuracy
        ],
        "sparsity": proven,
        "kernels": {
            case: {key: record[key] for key in KERNELS if key in record}
            for case, record in records.items()
            if set(KERNELS) & set(record)
        },
        "code": provenance["git_commit"],
        "changed_files": len(provenance["git_changed_files"]),
        "config_sha256": provenance["config_sha256"],
        "packages": provenance["packages"],
        "builds": {case: record["version"] for case, record in records.items()},
    }


def hops(results: Path, model: Model, cases: Iterable[str]) -> list[dict[str, Any]] | None:
    """What was found in each file on the way: weights, Paddle model, ONNX files, builds.

    ``cases`` are the folders of the builds. None for a model that is not sparse.
    """
    if model.promise is None:
        return None
    folder, found = results / "deploy" / model.name, []
    checks = [CHECK, QUANTIZED_CHECK, *(f"{case}/{CHECK}" for case in cases)]
    for name in checks:
        for checked in read_json(folder / name) if (folder / name).is_file() else ():
            wanted = [layer for layer in checked["layers"] if layer["required"]]
            found.append(
                {
                    "file": (Path(name).parent / Path(checked["file"]).name).as_posix(),
                    "layers": len(checked["layers"]),
                    "sparse_layers": len(wanted),
                    "groups": sum(layer["groups"] for layer in wanted),
                    "broken_groups": sum(layer["broken"] for layer in wanted),
                }
            )
    return found


def verify(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The certificate in ``folder``, and a sentence for everything that does not hold any more.

    Each file is hashed again, and 2:4 is read again from the model files themselves.
    """
    certificate: dict[str, Any] = read_json(folder / CERTIFICATE)
    if not isinstance(certificate, dict) or not isinstance(certificate.get("files"), dict):
        raise TwoFourError(f"{folder / CERTIFICATE} is no certificate of a release")
    wrong = _files(folder, certificate["files"], _sums(folder))
    if wrong or not certificate.get("sparsity"):
        return certificate, wrong
    listed = check.listed(str(folder / SPARSITY))
    stated = {hop["file"]: hop for hop in certificate["sparsity"]}
    again = [name for name in stated if not name.endswith(Path(WEIGHTS).suffix)]
    for name in dict.fromkeys([*PROVEN, *again]):
        found = [v for v in check.judge(str(folder / name), listed, []).verdicts if v.required]
        broken = sum(verdict.broken for verdict in found)
        groups = sum(verdict.groups for verdict in found)
        hop = stated.get(name, {})
        if broken or (len(found), groups) != (hop.get("sparse_layers"), hop.get("groups")):
            wrong.append(f"{name} does not have the 2:4 layers that the certificate states")
    return certificate, wrong


def _sums(folder: Path) -> dict[str, str]:
    """{file: hash} in SHA256SUMS."""
    lines = [line.partition("  ") for line in read_text(folder / CHECKSUMS).splitlines()]
    return {name: digest for digest, _, name in lines}


def _files(folder: Path, certified: Mapping[str, str], sums: Mapping[str, str]) -> list[str]:
    """Files that are missing, changed, or not certified; an inner release has its own."""
    wrong = []
    expected = {**certified, CERTIFICATE: sums.get(CERTIFICATE, "")}
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif sha256(path) != digest or sums.get(name) != digest:
            wrong.append(f"{name} is not the file that was released")
    inner = [path.parent for path in folder.rglob(CERTIFICATE) if path.parent != folder]
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        outside = not any(path.is_relative_to(other) for other in inner)
        if path.is_file() and outside and name not in {*expected, CHECKSUMS}:
            wrong.append(f"{name} does not belong to the release")
    extra = sorted(set(sums) - set(expected))
    return [*wrong, *(f"{CHECKSUMS} names {name}, which was not released" for name in extra)]
