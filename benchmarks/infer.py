#!/usr/bin/env python3
"""ResNet50 224 px: the deploy stage's backends against other runtimes on the same weights.

"Ours" is the fastest of our backends, in fp32 against peers in fp32. OpenVINO with its default
settings computes in bf16 on processors that can; there it is compared with the fastest of ours in
any precision. All predict the same probabilities (the contestants check that).
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import networks
import numpy as np
import turns

OURS = ("onnxruntime", "openvino", "paddle")
SAME = 0.9  # of the same library on the same file, which is noise alone
PEERS = (
    ("plain_onnxruntime", "onnxruntime", SAME),
    ("plain_openvino_fp32", "OpenVINO, told to compute in fp32", SAME),
    ("torch_compiled", "PyTorch compiled, channels-last", 1),
)
BF16 = "openvino_bf16"


def rows() -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        _export(Path(folder))
        return [row for batch in (1, 8) for row in _rows(folder, batch)]


def _rows(folder: str, batch: int) -> list[dict]:
    half = {BF16: "openvino in bf16"} if _computes_in_bf16() else {}
    who = (*OURS, *half, *(peer for peer, *_ in PEERS), "plain_openvino")
    rates = turns.measure({w: ("predict.py", w, folder, batch) for w in who})
    medians = {name: statistics.median(rates[name]) for name in (*OURS, *half)}
    against = [(OURS, *peer) for peer in PEERS]
    against.append(((*OURS, *half), "plain_openvino", "OpenVINO as it comes", SAME))
    found = []
    for choice, peer, title, aim in against:
        best = max(choice, key=medians.get)
        found.append(
            turns.row(
                "infer",
                f"batch {batch}, backend {half.get(best, f'{best} in fp32')}",
                "img/s",
                rates[best],
                title,
                rates[peer],
                (turns.AT_LEAST, aim),
                backends=medians,
            )
        )
    return found


def _computes_in_bf16() -> bool:
    from twofour.deploy import backends
    from twofour.system.errors import TwoFourError

    try:
        backends.module("openvino").require("bf16")
    except TwoFourError:
        return False
    return True


def _export(folder: Path) -> None:
    from twofour.deploy import export
    from twofour.system import libraries
    from twofour.system.settings import Hardware

    settings, network = networks.case("ResNet50 224 px")
    libraries.start(Hardware(device="cpu"))
    state = networks.random_state(network)
    export.export(network, state, settings.data.image_size, folder)
    np.savez(folder / "state.npz", **state)


if __name__ == "__main__":
    turns.main(__doc__, rows)
