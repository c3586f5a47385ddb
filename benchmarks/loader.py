#!/usr/bin/env python3
"""The training data path, 500×375 JPEG files to batches of 224×224, against its limit and peers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pictures
import turns

IMAGES, BATCH = 512, 32
PEERS = {
    "paddle_opencv": "paddle.io.DataLoader with OpenCV",
    "paddle_pillow": "paddle.io.DataLoader with Pillow",
    "torch_pillow": "torch DataLoader with Pillow",
}


def rows() -> list[dict]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        pictures.make(Path(folder), IMAGES, 500, 375)
        for threads in (1, 2):
            who = ("ours", "dali", "decoded", *PEERS)
            rates = turns.measure(
                {name: ("load.py", name, folder, BATCH, threads) for name in who},
                cores=threads,
            )
            case = f"{threads} thread{'s' * (threads > 1)}"
            for name, (title, aim) in {
                "dali": ("bare DALI pipeline (limit)", (turns.AT_LEAST, 0.97)),
                "decoded": ("DALI decoding the same crops, nothing else (limit)", None),
                **{peer: (title, (turns.AT_LEAST, 1)) for peer, title in PEERS.items()},
            }.items():
                found.append(
                    turns.row("loader", case, "img/s", rates["ours"], title, rates[name], aim)
                )
    return found


if __name__ == "__main__":
    turns.main(__doc__, rows)
