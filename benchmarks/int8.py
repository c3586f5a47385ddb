#!/usr/bin/env python3
"""int8 against fp32 in each engine and against others' quantisers, and what QAT costs.

The first rows are ours against ours: how many times as fast an engine is in int8. The quantisers
of ONNX Runtime and NNCF take the same fp32 file and the same calibration images, and their files
run in the engine that they are made for (benchmarks/quantisers.py compares accuracies). The last
rows are a step of quantisation-aware training against a plain one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import turns

ENGINES = ("onnxruntime", "openvino", "paddle")
PEERS = {"nncf": "openvino", "onnxruntime_quantiser": "onnxruntime"}
TITLES = {"nncf": "NNCF's quantiser", "onnxruntime_quantiser": "ONNX Runtime's quantiser"}
# NNCF rounds in more places than one file for all engines can (README.md).
AIMS = {"nncf": None, "onnxruntime_quantiser": (turns.AT_LEAST, 0.95)}


def rows() -> list[dict]:
    found = []
    for case, batches in (("ResNet50 224 px", (1, 8)), ("slim net 32 px", (1, 32))):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _prepare(folder, case)
            for batch in batches:
                found += _speeds(folder, case, batch)
    return [*found, *_training()]


def _speeds(folder: Path, case: str, batch: int) -> list[dict]:
    who = [f"{engine}_{kind}" for engine in ENGINES for kind in ("fp32", "int8")]
    peers = [peer for peer in PEERS if (folder / f"{peer}.onnx").exists()]
    rates = turns.measure({w: ("quantised.py", w, folder, batch) for w in (*who, *peers)}, cores=1)
    title, found = f"{case}, batch {batch}, 1 thread", []
    for engine in ENGINES:
        ours = rates[f"{engine}_int8"]
        found.append(
            turns.row(
                "int8",
                f"{title}, {engine} in int8",
                "img/s",
                ours,
                "itself in fp32",
                rates[f"{engine}_fp32"],
                None,
            )
        )
    for peer in peers:
        engine = PEERS[peer]
        found.append(
            turns.row(
                "int8",
                f"{title}, {engine} in int8",
                "img/s",
                rates[f"{engine}_int8"],
                TITLES[peer],
                rates[peer],
                AIMS[peer],
            )
        )
    return found


def _prepare(folder: Path, case: str) -> None:
    """The exported network, its calibration and our files; then those of the peers."""
    subprocess.run(
        [sys.executable, str(turns.HERE / "contestants" / "quantised.py"), "prepare", folder, case],
        check=True,
        env={**os.environ, "PYTHONPATH": str(turns.HERE)},
    )
    for peer in PEERS:
        done = subprocess.run(
            [sys.executable, str(turns.HERE / "contestants" / "quantisers.py"), peer, folder],
            check=False,
        )
        if done.returncode:
            print(f"int8: {TITLES[peer]} does not run here, see above", flush=True)


def _training() -> list[dict]:
    found = []
    for case, batch in (("slim net 32 px", 32), ("ResNet50 224 px", 4)):
        who = ("plain", "scaled", "qat")
        rates = turns.measure({w: ("rounded_step.py", w, case, batch) for w in who})
        titles = {
            "plain": ("a plain step", None),
            "scaled": ("one pass over what is rounded (limit)", None),
        }
        for other, (title, aim) in titles.items():
            found.append(
                turns.row(
                    "qat_step",
                    f"{case}, batch {batch}",
                    "img/s",
                    rates["qat"],
                    title,
                    rates[other],
                    aim,
                )
            )
    return found


if __name__ == "__main__":
    turns.main(__doc__, rows)
