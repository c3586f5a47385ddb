#!/usr/bin/env python3
"""What data.exif changes: the demo's digits, a share of them stored as phones store photographs.

A phone stores the picture as its sensor lies, and notes in the EXIF orientation how viewers must
turn it. For each share and seed a network is trained with apply and one with ignore. Reported is
the accuracy on the validation images as the setting treats them; upright, on the same images as a
viewer shows them, which is what a deployed network mostly sees. Prints a table (5 minutes).
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from twofour import config, stages
from twofour.data import lists
from twofour.system import sections

import networks
import numpy as np
import processes
from PIL import Image

SHARES, SEEDS = (0.25, 0.5), (1, 2, 3)
# Orientation: how often, of the turned ones, and the inverse of what it asks viewers to do. Most
# are taken upright (6), some with the phone the other way round or upside down.
ORIENTATIONS = {
    6: (0.7, Image.Transpose.ROTATE_90),
    8: (0.2, Image.Transpose.ROTATE_270),
    3: (0.1, Image.Transpose.ROTATE_180),
}
_TAG = 0x0112


def main() -> None:
    print("share turned  data.exif  reported top-1 %  upright top-1 %")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes.script("make_digits.py", "--out", folder / "digits")
        for share in SHARES:
            root = folder / f"turned {share}"
            turn(folder / "digits", root, share)
            for exif in ("apply", "ignore"):
                settings = configured("prepare_dataset", root, exif, 1)
                out = folder / f"{exif} {share}"
                processes.script(
                    *("prepare_dataset.py", "--config", settings, "--root", root, "--out", out)
                )
            upright = folder / f"apply {share}"
            for exif in ("apply", "ignore"):
                data = folder / f"{exif} {share}"
                found = [accuracies(folder, root, data, upright, exif, seed) for seed in SEEDS]
                means = [statistics.mean(values) for values in zip(*found)]
                print(f"{share:12.0%}  {exif:9}  {means[0]:16.2f}  {means[1]:15.2f}", flush=True)


def turn(source: Path, target: Path, share: float) -> None:
    """Copy the images, a ``share`` of them stored turned."""
    rng = np.random.default_rng(0)
    chances = [chance for chance, _ in ORIENTATIONS.values()]
    for path in sorted(source.glob("*/*")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        image, exif = Image.open(path).convert("RGB"), Image.Exif()
        if rng.random() < share:
            exif[_TAG] = int(rng.choice(list(ORIENTATIONS), p=chances))
            image = image.transpose(ORIENTATIONS[exif[_TAG]][1])
        image.save(copy, quality=95, exif=exif)


def configured(stage: str, root: Path, exif: str, seed: int) -> str:
    """The demo's configuration for a stage, on the images in ``root``."""
    demo = sections.as_dict(networks.case("slim net 32 px")[0])
    data = {**demo["data"], "source": "folder", "root": str(root), "exif": exif}
    return stages.settings(stage, config.validated({**demo, "seed": seed, "data": data}))


def accuracies(
    folder: Path, root: Path, data: Path, upright: Path, exif: str, seed: int
) -> tuple[float, float]:
    """Top-1 in percent of a training as it reports it, and on the images as viewers show them."""
    out, reference = folder / "trained", folder / "reference.npz"
    settings = configured("train", root, exif, seed)
    processes.script("train.py", "--config", settings, "--data", data, "--out", out)
    reported = json.loads((out / "train.json").read_text())["top1"]
    settings = configured("reference", root, exif, seed)
    weights = out / "model.pdparams"
    processes.script(
        *("reference.py", "--config", settings, "--data", upright),
        *("--weights", weights, "--out", reference),
    )
    right = np.load(reference)["probabilities"].argmax(axis=1) == lists.read(upright).val.labels
    return reported, 100 * float(right.mean())


if __name__ == "__main__":
    main()
