#!/usr/bin/env python3
"""ResNet50 224 px, fp32: the deploy stage's backends against what others make of the same weights.

All predict the same probabilities (the contestants check it). "Ours" is the backend that the
comparison would name: the fastest one.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import networks
import numpy as np
import turns

OURS = ("onnxruntime", "openvino", "paddle")
PEERS = {
    "plain_onnxruntime": "onnxruntime",
    "plain_openvino": "OpenVINO",
    "torch_compiled": "PyTorch compiled, channels-last",
}


def rows() -> list[dict]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        _export(Path(folder))
        for batch in (1, 8):
            rates = turns.measure(
                {who: ("predict.py", who, folder, batch) for who in (*OURS, *PEERS)}, rounds=7
            )
            medians = {who: statistics.median(rates[who]) for who in OURS}
            best = max(medians, key=medians.get)
            for peer, title in PEERS.items():
                found.append(
                    turns.row(
                        "infer",
                        f"batch {batch}, backend {best}",
                        "img/s",
                        rates[best],
                        title,
                        rates[peer],
                        (turns.AT_LEAST, 1),
                        backends=medians,
                    )
                )
    return found


def _export(folder: Path) -> None:
    from twofour import export, hardware

    settings, network = networks.case("ResNet50 224 px")
    hardware.start({"device": "cpu", "threads": "auto"})
    state = networks.random_state(network)
    export.export(network, state, settings["data"], folder)
    np.savez(folder / "state.npz", **state)


if __name__ == "__main__":
    turns.main(__doc__, rows)
