"""A dense network that was given instead of trained: evaluated as a training would, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..artifacts import CLASSES, LAST_WEIGHTS, METRICS, TENSORBOARD, TRAINING, WEIGHTS
from ..data import lists
from ..data.lists import Dataset
from ..data.loader import Loader
from ..network import weights
from ..network.architecture import Architecture
from ..network.inference import Inference
from ..system import progress
from ..system.errors import TwoFourError
from ..system.files import sha256, write_json
from ..system.hardware import Machine
from . import seen
from .metrics import Tally, chance_top1


def take(
    path: Path, network: Architecture, size: int, images: Loader, data: Path, machine: Machine
) -> tuple[dict, dict[str, Any]]:
    """The state of ``network`` in the file ``path``, and what train.json says about it.

    It is evaluated on the validation ``images`` of ``size`` pixels, in fp32; ``data`` is the folder
    of the dataset stage. Raises TwoFourError if the file is of another network or other classes.
    """
    dataset = lists.read(data)
    require_classes(path, dataset)
    state, source = weights.finished(path, network)
    infer = Inference(network, size, machine.device, gpu=machine.gpu).load(state)
    tally = Tally(dataset.val.labels)
    with progress.bar(images.steps, "evaluating", "batch") as bar:
        for batch, positions in images.epoch():
            tally.add(infer(batch), positions)
            bar.update()
    result = tally.result()
    known = seen.count(lists.digests(data)["val"], seen.by(str(path)))
    seen.tell(known, len(dataset.val.labels), str(path))
    return state, {
        "model": network.name,
        "classes": network.classes,
        "parameters": network.parameters,
        "given": {"file": path.name, "sha256": sha256(path), "library": source or "TwoFour"},
        "device": machine.device,
        "device_name": machine.name,
        "precision": "fp32",
        "epochs": 0,
        "top1": result["top1"],
        "top5": result["top5"],
        "val_loss": result["loss"],
        "val_images": result["images"],
        "known_val_images": known,
        "chance_top1": chance_top1(dataset.val.labels),
    }


def write(out: Path, path: Path, state: dict, summary: dict[str, Any]) -> None:
    """Write into ``out`` what a dense training would, but for the history.

    What an earlier training has left there goes, except its checkpoints, from which it could go on.
    """
    for name in (METRICS, LAST_WEIGHTS):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
    weights.save(out / WEIGHTS, state)
    seen.write(out, seen.NOTHING, seen.by(str(path)))
    write_json(out / TRAINING, summary)


def require_classes(path: Path, dataset: Dataset) -> None:
    """Raise TwoFourError if the names of classes beside ``path`` are not those of the dataset.

    Nothing in the weights says which output is which class; exported models have a list beside
    them.
    """
    if not (path.parent / CLASSES).is_file():
        return
    names = path.parent / CLASSES
    theirs = lists.classes(path.parent)
    if len(theirs) != len(dataset.classes):
        raise TwoFourError(
            f"dense.weights: {names} names {len(theirs)} classes, and the images have "
            f"{len(dataset.classes)}"
        )
    for label, (given, ours) in enumerate(zip(theirs, dataset.classes)):
        if given != ours:
            raise TwoFourError(
                f"dense.weights: {names} calls class {label} {given!r}, and the images {ours!r}: "
                "the network was trained on other classes or in another order"
            )
