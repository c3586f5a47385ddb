"""Peak memory of some training steps: peak.py CASE BATCH DATA.

Prints, in MB: what PaddlePaddle and the loader's libraries take alone, the peak, and what all
variables of the training program make: weights, momentum, activations and their gradients.
"""

import contextlib
import json
import os
import resource
import sys

import networks
import step

EPOCHS = 2


def main() -> None:
    case, batch, data = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    settings, network = networks.case(case)
    settings["train"]["batch_size"] = batch
    settings["hardware"]["threads"] = "auto"
    from twofour.system import libraries

    libraries.start(settings["hardware"], training=True)
    from twofour.system import progress
    from twofour.train import loop, training_graph  # noqa: F401 (what the program loads in any case)

    before = _peak_mb()
    run = step.start(settings, network, data)
    with contextlib.closing(progress.bar(1, "training", "step")) as bar:
        for _ in range(EPOCHS):
            run._train_epoch(bar, lambda: 0)
            run.step = 0
    arithmetic = training_graph.tensor_bytes(run.program.main, batch) / 1e6
    found = {"before": before, "peak": _peak_mb(), "arithmetic": arithmetic}
    print(json.dumps(found), flush=True)
    os._exit(0)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
