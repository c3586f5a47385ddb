#!/usr/bin/env python3
"""Peak memory of trainings against what was calculated beforehand, and how memory and time grow."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from twofour.system import sections
from twofour.train import footprint

import networks
import processes
import training
import turns

EPOCHS, IMAGES = (2, 8, 32), (500, 2000, 8000)
CASE = "slim net 32 px"
FLAT = (turns.AT_MOST, 1.05)


def rows() -> list[dict]:
    found = []
    for case, batch, accumulation, images, size in (
        (CASE, 32, 1, 200, (32, 32)),
        ("ResNet50 224 px", 4, 1, 16, (500, 375)),
        ("ResNet50 224 px", 16, 1, 32, (500, 375)),
        ("ResNet50 224 px", 8, 2, 32, (500, 375)),
    ):
        settings, network = networks.case(case)
        calculated = footprint.training_bytes(
            network, settings.data.image_size, batch, accumulation > 1
        )
        changed = {"batch_size": batch, "accumulation": accumulation, "epochs": 2}
        with tempfile.TemporaryDirectory() as folder:
            data = training.dataset(Path(folder), case, images, *size)
            run = _training(Path(folder), data, case, **changed, warmup_epochs=0)
            peaks = [run().peak_mb for _ in range(turns.ROUNDS)]
        found.append(
            turns.row(
                "memory",
                f"training {case}, {accumulation} × {batch} images a step",
                "MB",
                peaks,
                "calculated beforehand",
                [calculated / 1e6] * turns.ROUNDS,
                (turns.AT_MOST, 1.1),
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        found += _growth(Path(folder))
    return found


def _growth(folder: Path) -> list[dict]:
    whole = training.dataset(folder, CASE, max(IMAGES), 32, 32)
    lists = {count: _head(whole, folder / f"data{count}", count) for count in IMAGES}
    model, build = _built(folder)
    longest = lists[min(IMAGES)]
    trained = processes.in_turns(
        {
            **{("epochs", e): _training(folder, longest, epochs=e) for e in EPOCHS},
            **{("images", n): _training(folder, lists[n], epochs=2) for n in IMAGES},
            **{("evaluated", n): _evaluation(folder, lists[n], model, build) for n in IMAGES},
        },
        turns.ROUNDS,
    )
    found = []
    for kind, sizes, what in (
        ("epochs", EPOCHS, "training"),
        ("images", IMAGES, "training"),
        ("evaluated", IMAGES, "evaluation"),
    ):
        unit = "epochs" if kind == "epochs" else "images"
        peaks = {size: [run.peak_mb for run in trained[kind, size]] for size in sizes}
        found.append(
            turns.row(
                "memory",
                f"{what}, {max(sizes)} {unit}",
                "MB",
                peaks[max(sizes)],
                f"{min(sizes)} {unit}",
                peaks[min(sizes)],
                FLAT,
                peaks_mb={size: statistics.median(peaks[size]) for size in sizes},
            )
        )
        # A program's fixed cost is not growth, so only what each size adds is compared.
        seconds = [statistics.median(run.seconds for run in trained[kind, s]) for s in sizes]
        steps = list(itertools.pairwise(zip(sizes, seconds)))
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in steps]
        found.append(
            turns.row(
                "memory",
                f"seconds of {what} for one more of {unit}, between the larger two of "
                f"{' / '.join(map(str, sizes))}",
                "s",
                [slopes[1]],
                "between the smaller two",
                [slopes[0]],
                (turns.AT_MOST, 1.1),
                sizes=sizes,
                seconds=seconds,
                exponent=turns.growth(sizes, seconds),
            )
        )
    return found


def _head(data: Path, out: Path, count: int) -> Path:
    """``count`` training images of ``data``, evenly spaced, to train on and to validate."""
    shutil.copytree(data, out)
    lines = (data / "train.txt").read_text().splitlines(keepends=True)
    text = "".join(lines[:: len(lines) // count][:count])
    for name in ("train.txt", "val.txt"):
        (out / name).write_text(text)
    return out


def _settings(case: str = CASE, **changed) -> str:
    settings, _ = networks.case(case)
    whole = sections.as_dict(settings)
    parts = {key: whole[key] for key in ("data", "model", "train", "hardware")}
    parts["data"] = {**parts["data"], "source": "folder", "root": "."}
    parts["train"] = {**parts["train"], **changed}
    return json.dumps(parts)


def _training(folder: Path, data: Path, case: str = CASE, **changed):
    def run() -> processes.Run:
        out = folder / "trained"
        shutil.rmtree(out, ignore_errors=True)
        settings = _settings(case, **changed)
        return processes.script("train.py", "--config", settings, "--data", data, "--out", out)

    return run


def _built(folder: Path) -> tuple[Path, Path]:
    from twofour.deploy import export
    from twofour.system import libraries

    settings, network = networks.case(CASE)
    libraries.start(settings.hardware)
    from twofour.network import weights

    model = folder / "model"
    model.mkdir()
    state = networks.random_state(network)
    weights.save(model / "model.pdparams", state)
    export.export(network, state, settings.data.image_size, model)
    build = model / "onnxruntime-fp32"
    processes.script(
        *("build.py", "--model", model, "--backend", "onnxruntime", "--precision", "fp32"),
        *("--out", build),
    )
    return model, build


def _evaluation(folder: Path, data: Path, model: Path, build: Path):
    reference = folder / f"{data.name}.npz"  # each list has its own
    processes.script(
        *("reference.py", "--config", _settings(), "--data", data),
        *("--weights", model / "model.pdparams", "--out", reference),
    )

    def run() -> processes.Run:
        return processes.script(
            *("evaluate.py", "--config", _settings(), "--data", data, "--model", model),
            *("--build", build, "--reference", reference),
            *("--out", folder / "evaluation.json"),
        )

    return run


if __name__ == "__main__":
    turns.main(__doc__, rows)
