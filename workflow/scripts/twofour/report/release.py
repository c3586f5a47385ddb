"""release/<model>/: what is handed on of a model, complete, with a card and checksums."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from ..artifacts import (
    BUILD,
    CALIBRATION,
    CARD,
    CERTIFICATE,
    CHECK,
    CHECKSUMS,
    CLASSES,
    DATASET,
    DESCRIPTION,
    EXPORTED,
    ONNX,
    QUANTIZED,
    RELEASED,
    SPARSITY,
    TRAINING,
    TRITON,
    WITH_IMAGES,
)
from ..deploy import snippet, triton
from ..deploy.backends import INT8
from ..deploy.backends.tensorrt import ENGINE
from ..deploy.profiles import Profile
from ..models import DENSE, SPARSE, Model
from ..system.errors import TwoFourError
from ..system.files import atomic, read_json, sha256, write_json, write_text
from . import certificate, words
from .compare import Table

TEMPLATE = "release.md.j2"  # beside this module
ONNX_BATCH = 256  # the largest that Triton gathers for a file that takes any
KINDS = (DENSE, SPARSE)  # a network that was only pruned is of no use


@dataclass(frozen=True)
class Terms:
    """What the configuration says: the ``run``, its ``recipe`` for the card, and ``release``."""

    run: str
    recipe: Mapping[str, Any]
    license: str | None
    preprocessing: bool
    batch_sizes: Sequence[int]


def make(
    results: Path, model: Model, table: Table, cases: Sequence[tuple[str, str]], terms: Terms
) -> Path:
    """Write the release of ``model`` of the run in folder ``results``; returns its folder.

    ``cases`` are (backend, precision) of its builds. The checksums are written last.
    """
    source = results / "deploy" / model.name
    out = results / RELEASED.format(model=model.name)
    _clear(out, model, table.models)
    about = read_json(source / DESCRIPTION)
    names = [*EXPORTED.values(), *_quantised(cases)]
    written = [_copy(source / name, out / name) for name in names]
    if model.promise:
        written.append(_copy(results / model.promise / SPARSITY, out / SPARSITY))
    records = {}
    for backend, precision in cases:
        case = f"{backend}-{precision}"
        records[case] = read_json(source / case / BUILD)
        written += _copy_build(source / case, out / case, records[case])
    if terms.preprocessing:
        written.append(_write_with_images(out, about))
    written += _write_triton(out, model, about, records, terms)
    rows = table.frame[table.frame["model"] == model.name]
    accuracy = rows.drop_duplicates(["backend", "precision"]).to_dict("records")
    hops = certificate.hops(results, model, records)
    written.append(_write_card(results, out, model, rows, accuracy, hops, about, terms))
    certified = certificate.make(results, out, model, accuracy, hops, records, written)
    write_json(out / CERTIFICATE, certified)
    sums = {**certified["files"], CERTIFICATE: sha256(out / CERTIFICATE)}
    lines = [
        f"{digest}  {name}\n"
        for name, digest in sorted(sums.items(), key=lambda sum_: Path(sum_[0]))
    ]
    write_text(out / CHECKSUMS, "".join(lines))
    return out


def _quantised(cases: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Files beside the exported ones if there are builds in int8, which are made of them."""
    return (QUANTIZED, CALIBRATION) if any(kind == INT8 for _, kind in cases) else ()


def _clear(out: Path, model: Model, models: Sequence[Model]) -> None:
    """Remove an earlier release, but for those of models whose names continue this one's."""
    inner = {
        other.name.removeprefix(f"{model.name}/").partition("/")[0]
        for other in models
        if other.name.startswith(f"{model.name}/")
    }
    for path in out.iterdir() if out.is_dir() else ():
        if path.is_dir() and path.name not in inner:
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()


def _copy(source: Path, target: Path) -> Path:
    try:
        with atomic(target, source.stat().st_size) as temporary:
            shutil.copyfile(source, temporary)
    except FileNotFoundError as error:
        raise TwoFourError(f"{source} does not exist") from error
    return target


def _link(source: Path, target: Path) -> Path:
    """The same file under a second name, or a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        _copy(source, target)
    return target


def _copy_build(source: Path, out: Path, record: Mapping[str, Any]) -> list[Path]:
    """A build's files; its record names them without the folders that they were made in."""
    files = [p for p in sorted(source.iterdir()) if p.is_file() and p.name not in (BUILD, CHECK)]
    written = [_copy(path, out / path.name) for path in files if not path.name.startswith(".")]
    names = [Path(name).name for name in record["files"]]
    write_json(out / BUILD, {**record, "files": names})
    return [*written, out / BUILD]


def _write_with_images(out: Path, about: Mapping[str, Any]) -> Path:
    import onnx

    from ..deploy import with_images

    content = with_images.made(onnx.load(str(out / ONNX)), about).SerializeToString()
    with atomic(out / WITH_IMAGES, len(content)) as temporary:
        temporary.write_bytes(content)
    return out / WITH_IMAGES


def _write_triton(
    out: Path,
    model: Model,
    about: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    terms: Terms,
) -> list[Path]:
    """The model repository: the network in ONNX Runtime, with images, and TensorRT's engines."""
    name = f"{terms.run}-{model.name}".replace("/", "-")
    sizes = [size for size in terms.batch_sizes if size > 1]
    served = [(triton.network(name, about, "onnxruntime", ONNX_BATCH, sizes), out / ONNX)]
    if terms.preprocessing:
        wide = triton.with_images(f"{name}-images", about, ONNX_BATCH, sizes)
        served.append((wide, out / WITH_IMAGES))
    for case, record in records.items():
        if record["backend"] in ("tensorrt", "tensorrt_sparse"):
            profile = max((Profile(*pair) for pair in record["batches"]), key=_width)
            engine = triton.network(f"{name}-{case}", about, "tensorrt", profile.largest, sizes)
            served.append((engine, out / case / f"{profile.name}{ENGINE}"))
    written = []
    for one, path in served:
        folder = out / TRITON / one.name
        file = triton.ENGINE_FILE if one.backend == "tensorrt" else triton.ONNX_FILE
        written += [
            _link(path, folder / "1" / file),
            _link(out / CLASSES, folder / triton.LABELS),
            folder / "config.pbtxt",
        ]
        write_text(folder / "config.pbtxt", one.config())
    return written


def _width(profile: Profile) -> int:
    return profile.largest - profile.smallest


def _write_card(
    results: Path,
    out: Path,
    model: Model,
    rows: pd.DataFrame,
    accuracy: Sequence[Mapping[str, Any]],
    hops: Sequence[Mapping[str, Any]] | None,
    about: Mapping[str, Any],
    terms: Terms,
) -> Path:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    training = read_json(results / model.name / TRAINING)
    dense = read_json(results / DENSE / TRAINING)
    text = environment.get_template(TEMPLATE).render(
        run=terms.run,
        model=model,
        about=about,
        license=terms.license,
        training=training,
        parameters=training["parameters"],
        known=dense["known_val_images"],
        given=dense.get("given"),
        dataset=read_json(results / "dataset" / DATASET),
        recipe=yaml.safe_dump(dict(terms.recipe), sort_keys=False, allow_unicode=True),
        accuracy=accuracy,
        speed=rows.to_dict("records"),
        speed_notes=[
            f"{words.listed(list(group['backend'].unique()))}: {note}"
            for note, group in rows.dropna(subset=["note"]).groupby("note", sort=False)
        ],
        proof=next((hop for hop in hops or () if hop["file"] == ONNX), None),
        lines=snippet.text(about, "."),
        with_images=WITH_IMAGES if terms.preprocessing else None,
        triton=TRITON,
        checksums=CHECKSUMS,
    )
    write_text(out / CARD, text)
    return out / CARD
