#!/usr/bin/env python3
"""The training loop on image files against its own limit and against PyTorch, in the same turns.

Limit: the same program fed one constant batch without any fetch, and the loader's own time for the
images, since both compute on the same cores (row train_step). PyTorch: the same network, batch,
optimiser and threads, channels-last; both on one constant batch without a fetch (row train_peer).
The limit there: our step without the time in which oneDNN changes the layout of tensors.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import networks
import pictures
import processes
import turns

CONVERTING = "itself without oneDNN's changes of layout, by its profile (limit)"
PEERS = {
    "torch_eager": "PyTorch eager, channels-last",
    "torch_compiled": "PyTorch compiled, channels-last",
    "torch_bf16": "PyTorch eager in bf16 (autocast), channels-last",
}
# case: (batch size, training images, their width and height, cores)
CASES = {
    "slim net 32 px": [(32, 1438, (32, 32), cores) for cores in (1, 2)],
    "ResNet50 224 px": [(8, 16, (500, 375), cores) for cores in (1, 2)],
}


def rows() -> list[dict]:
    found = []
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # for all of them, as start.sh does
    for case, sizes in CASES.items():
        for batch, images, (width, height), cores in sizes:
            with tempfile.TemporaryDirectory() as folder:
                data = dataset(Path(folder), case, images, width, height)
                who = ("loop", "constant", "loader", "converting", *PEERS)
                rates = turns.measure(
                    {w: ("step.py", w, case, batch, data) for w in who}, cores=cores
                )
            limit = [1 / (1 / s + 1 / r) for s, r in zip(rates["constant"], rates["loader"])]
            title = f"{case}, batch {batch}, {cores} thread{'s' * (cores > 1)}"
            found.append(
                turns.row(
                    "train_step",
                    title,
                    "img/s",
                    rates["loop"],
                    "a constant batch, no fetch, and the loader's time (limit)",
                    limit,
                    (turns.AT_LEAST, 0.95),
                )
            )
            others = {name: rates[peer] for peer, name in PEERS.items()}
            spared = [r / (1 - share) for r, share in zip(rates["constant"], rates["converting"])]
            for name, rate in {CONVERTING: spared, **others}.items():
                found.append(
                    turns.row("train_peer", title, "img/s", rates["constant"], name, rate, None)
                )
    return found


def dataset(folder: Path, case: str, images: int, width: int, height: int) -> Path:
    classes = networks.case(case)[1].classes
    pictures.make(folder / "images", images, width, height, min(classes, 10))
    processes.script("prepare_dataset.py", "--root", folder / "images", "--out", folder / "dataset")
    return folder / "dataset"


if __name__ == "__main__":
    turns.main(__doc__, rows)
