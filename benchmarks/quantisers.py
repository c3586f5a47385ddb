#!/usr/bin/env python3
"""Accuracy of a finished run's dense network in int8, by our quantiser and by others'.

    python benchmarks/quantisers.py results/demo

All take the same file and the same training images; ours runs in both engines, ONNX Runtime's own
in ONNX Runtime, NNCF's in OpenVINO. Prints top-1 of each on the whole validation list.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twofour import config
from twofour.artifacts import CALIBRATION, ONNX, PROVENANCE
from twofour.system import files, libraries
from twofour.system.settings import Hardware

import numpy as np
import turns

PEERS = {"nncf": "openvino", "onnxruntime_quantiser": "onnxruntime"}
IMAGES = 128  # for the calibration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="folder of a finished run with int8")
    results = parser.parse_args().results
    settings = config.validated(files.read_json(results / PROVENANCE)["config"])
    machine = libraries.prepare(Hardware(device="cpu"))
    from twofour.data import lists, loader
    from twofour.deploy import backends

    dataset, model = lists.read(results / "dataset"), results / "deploy" / "dense"

    def pictures(split):
        channels = settings.model.input_channels
        images = loader.for_evaluation(split, settings.data, channels, 64, machine)
        return np.concatenate([batch.copy() for batch, _ in images.epoch()])

    judged = pictures(dataset.val)

    def top1(backend: str, folder: Path, built: Path, precision: str) -> float:
        predict = backends.module(backend).load(folder, built, precision, machine)
        found = [predict(judged[i : i + 64]).argmax(1) for i in range(0, len(judged), 64)]
        return 100 * float((np.concatenate(found) == dataset.val.labels).mean())

    print(f"fp32: {top1('onnxruntime', model, model, 'fp32'):.2f} %")
    for backend in ("onnxruntime", "openvino"):
        built = model / f"{backend}-int8"
        algorithm = files.read_json(model / CALIBRATION)["algorithm"]
        print(f"ours ({algorithm}), {backend}: {top1(backend, model, built, 'int8'):.2f} %")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(model / ONNX, folder)
        np.save(folder / "calibration.npy", pictures(lists.sample(dataset.train, IMAGES)))
        for peer, backend in PEERS.items():
            program = turns.HERE / "contestants" / "quantisers.py"
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run([sys.executable, program, peer, folder], check=True, **quiet)
            (folder / peer).mkdir()
            (folder / f"{peer}.onnx").replace(folder / peer / ONNX)
            accuracy = top1(backend, folder / peer, folder / peer, "fp32")
            print(f"{peer}, {backend}: {accuracy:.2f} %")


if __name__ == "__main__":
    main()
