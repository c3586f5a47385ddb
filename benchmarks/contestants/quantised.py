"""Predictions in fp32 and int8: quantised.py WHO FOLDER BATCH, or prepare FOLDER CASE.

WHO is <engine>_<precision>, or a peer's quantiser, whose file runs in the engine that it is made
for.
"""

import sys
from pathlib import Path

from twofour.quantization import calibration, fold, forms, onnx_graph

import networks
import numpy as np
import turns

SECONDS = 2  # per turn, roughly
CALIBRATION = 64  # images
PEERS = {"nncf": "openvino", "onnxruntime_quantiser": "onnxruntime"}


def pictures(count: int, size: int, seed: int) -> np.ndarray:
    """Noise with structure, normalised: [count, 3, size, size]."""
    rng = np.random.default_rng(seed)
    small = rng.standard_normal((count, 3, size // 8, size // 8)).astype("float32")
    return np.kron(small, np.ones((1, 1, 8, 8), "float32"))


def prepare(folder: Path, case: str) -> None:
    from twofour.deploy import build, export
    from twofour.system import files, hardware, libraries
    from twofour.system.settings import Hardware

    settings, network = networks.case(case)
    size = settings.data.image_size
    machine = libraries.start(Hardware(device="cpu", threads=1))
    export.export(network, networks.random_state(network), size, folder)
    sample = pictures(CALIBRATION, size, 0)
    np.save(folder / "calibration.npy", sample)
    batches = [sample[i : i + 8] for i in range(0, CALIBRATION, 8)]
    limits, layers = calibration.calibrate(folder, lambda: batches, "minmax", 100, 2)
    digest = files.sha256(folder / "model.onnx")
    found = calibration.Calibration(limits, "minmax", CALIBRATION, "", digest, layers)
    calibration.write(folder / "calibration.json", found)
    graph = fold.fold(onnx_graph.load(folder / "model.onnx"))
    onnx_graph.write(folder / "model.int8.onnx", forms.for_tensorrt(graph, limits))
    for engine in ("onnxruntime", "openvino", "paddle"):
        for precision in ("fp32", "int8"):
            cpu = hardware.Machine("cpu", machine.name, 1)
            build.build(engine, precision, folder, folder / f"{engine}_{precision}", cpu)


def load(who: str, folder: Path):
    """A predictor, with one thread."""
    from twofour.deploy import backends
    from twofour.system import libraries
    from twofour.system.settings import Hardware

    machine = libraries.prepare(Hardware(device="cpu", threads=1))
    if who in PEERS:  # as the plain file of its engine
        peer = folder / f"{who}.folder"
        peer.mkdir(exist_ok=True)
        (peer / "model.onnx").write_bytes((folder / f"{who}.onnx").read_bytes())
        return backends.module(PEERS[who]).load(peer, peer, "fp32", machine)
    engine, _, precision = who.rpartition("_")
    backends.module(engine).require(precision)
    return backends.module(engine).load(folder, folder / who, precision, machine)


def main() -> None:
    who, folder = sys.argv[1], Path(sys.argv[2])
    if who == "prepare":
        prepare(folder, sys.argv[3])
        return
    predict, size = load(who, folder), np.load(folder / "calibration.npy", mmap_mode="r").shape[-1]
    batch = int(sys.argv[3])
    images = pictures(batch, size, 2)
    turns.serve(turns.timed(lambda: predict(images), batch, SECONDS))


if __name__ == "__main__":
    main()
