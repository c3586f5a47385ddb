"""Long runs: nothing grows, and checkpoints cost next to nothing."""

import json
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from conftest import SCRIPTS, TINY, merged

EPOCHS = 200


@pytest.mark.long
def test_two_hundred_epochs(prepared, tmp_path):
    config = json.dumps(merged(TINY, {"train": {"epochs": EPOCHS}}))
    command = [sys.executable, str(SCRIPTS / "train.py"), "--config", config]
    command += ["--data", str(prepared), "--out", str(tmp_path)]
    job = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    process, samples = psutil.Process(job.pid), []
    while job.poll() is None:
        try:
            found = process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()
        except psutil.Error:
            break
        if list(tmp_path.glob("checkpoints/step*")):  # it trains
            samples.append(found)
        time.sleep(0.1)
    assert job.wait() == 0
    memory, files, threads = np.array(samples[len(samples) // 4 :]).T
    growth = np.polyfit(np.linspace(0, 1, len(memory)), memory, 1)[0]
    record = json.loads((tmp_path / "train.json").read_text())
    share = record["checkpoint_seconds"] / record["seconds"]
    print(
        f"memory {memory[0]:.0f} to {memory[-1]:.0f} MB ({growth:+.1f} MB over 3/4 of {EPOCHS} "
        f"epochs), files {files.min():.0f}-{files.max():.0f}, threads {threads.min():.0f}-"
        f"{threads.max():.0f}; checkpoints {100 * share:.1f} % of {record['seconds']:.0f} s"
    )
    assert growth < 15
    assert share < 0.03  # the aim is 2 %, judged by how long the one before took
    assert np.ptp(files) <= 3  # a checkpoint being written is an open file
    assert np.ptp(threads) <= 2
