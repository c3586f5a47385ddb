"""Trainings as a user runs them, and which of their results must be repeatable."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pandas as pd
from conftest import SCRIPTS, TINY, merged, program


def train(prepared, out, *changes, start=None, check=True):
    extra = ["--start", start] if start else []
    config = json.dumps(merged(TINY, *changes))
    return program(
        "train.py", "--config", config, "--data", prepared, "--out", out, *extra, check=check
    )


def state(folder):
    return (folder / "model.pdparams").read_bytes()


def rows(folder):
    table = pd.read_csv(folder / "metrics.csv")
    return table.drop(columns=["img_s", "data_time_s", "compute_time_s"]).to_csv(index=False)


def started(prepared, out, *changes, extra=()):
    """A training in the background, returned as soon as it has written a checkpoint."""
    command = [
        sys.executable,
        str(SCRIPTS / "train.py"),
        "--config",
        json.dumps(merged(TINY, *changes)),
    ]
    command += ["--data", str(prepared), "--out", str(out), *map(str, extra)]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("checkpoints/step*.npz")) and job.poll() is None:
        time.sleep(0.005)
    return job


def at_checkpoint(running, out):
    """The same training once it has written a checkpoint; it must not end before."""
    until = time.monotonic() + 60
    while not list((out / "checkpoints").glob("step*.npz")):
        assert running.poll() is None, running.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    return running
