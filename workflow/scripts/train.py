#!/usr/bin/env python3
"""Train a network: dense from random or given weights, sparse from pruned ones with their masks, or
quantisation-aware from trained ones.

When run again after an interruption, it resumes from its last checkpoint, in OUT/checkpoints, and
reaches the same result. With hardware.gpus (or cpu_processes on CPUs) above 1 it starts that many
processes of itself; with hardware.nodes above 1, on each of several nodes of a SLURM job.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command


def main(options) -> int | None:
    from twofour import stages
    from twofour.train import run

    stage = "train_sparse" if options.start else "train_qat" if options.calibration else "train"
    return run.run(stages.load(options.config, stage), options, Path(__file__))


def arguments(parser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--start", metavar="DIR", help="the pruning stage's artifacts; makes the training sparse"
    )
    parser.add_argument(
        "--more", metavar="FILE", help="model.pdparams of a network to be trained on"
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="its calibration.json: it learns to be rounded (quantisation-aware training)",
    )
    parser.add_argument("--masks", metavar="FILE", help="masks.npz, which it keeps meanwhile")
    parser.add_argument(
        "--teacher",
        metavar="FILE",
        help="dense model.pdparams, for a sparse training to learn from",
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
