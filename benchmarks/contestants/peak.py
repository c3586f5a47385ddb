"""Peak memory of some training steps: peak.py CASE BATCH DATA.

Prints, in MB: what PaddlePaddle and the loader's libraries take alone, the peak, and the size of
all variables of the training program: weights, momentum, activations and their gradients.
"""

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
    settings = networks.with_batch(settings, batch)
    from twofour.system import libraries

    libraries.start(settings.hardware, training=True)
    from twofour.train import display, loop, training_graph  # what the program loads in any case

    before = _peak_mb()
    run = step.start(settings, network, data)
    with display.Display(EPOCHS, run.steps, 0, False) as shown:
        for _ in range(EPOCHS):
            loop._updates(run, shown, lambda: 0)
            run.step = 0
    arithmetic = training_graph.tensor_bytes(run.graph.main, batch) / 1e6
    found = {"before": before, "peak": _peak_mb(), "arithmetic": arithmetic}
    print(json.dumps(found), flush=True)
    os._exit(0)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
