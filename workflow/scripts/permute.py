#!/usr/bin/env python3
"""Reorder a network's channels so that 2:4 pruning keeps more of its magnitude.

Writes the permuted weights, after a check that they give the same outputs. Uses the config's
seed and its sections data (image_size), model and sparsity (all but algorithm and permute).
"""

from __future__ import annotations

import time
from pathlib import Path

from twofour import (
    architecture,
    cli,
    config,
    files,
    hardware,
    metrics,
    permutation,
    pruning,
    sparsity,
    weights,
)
from twofour.errors import TwoFourError

import numpy as np

TOLERANCE = 1e-4  # of a class probability: sums are the same but for the order of their terms
IMAGES = 4


def main(options) -> None:
    settings = config.load(options.config)
    if options.training and settings["sparsity"]["require_learnt"]:
        metrics.require_learnt(files.read_json(options.training), options.training)
    hardware.start({"device": "cpu", "threads": options.threads})
    dense = weights.load(options.weights)
    network = architecture.resnet(settings["model"], weights.classes(dense, options.weights))
    weights.require_shapes(dense, network.weights, options.weights)
    chosen = {key: settings["sparsity"][key] for key in ("include", "exclude")}
    names = sparsity.chosen(sparsity.choose(network.weights, **chosen))
    start = time.perf_counter()
    orders = permutation.find(network, dense, names, settings["seed"])
    seconds = time.perf_counter() - start
    permuted = permutation.apply(network, dense, orders)
    difference = _difference(network, dense, permuted, settings)
    if not difference <= TOLERANCE:
        raise TwoFourError(
            f"the permuted network differs from {options.weights} by {difference:.3g} in a class "
            "probability; this is a fault of the program, please report it"
        )
    kept = {
        key: sparsity.kept_magnitude(pruning.prune(state, names, "mask_1d")[0], state, names)
        for key, state in (("before", dense), ("after", permuted))
    }
    record = {
        "kept_magnitude_mask_1d": kept,
        "largest_difference": difference,
        "cycles_at_most": permutation.CYCLES,
        "streams": [
            {
                "producers": [conv.name for conv in network.streams[index].producers],
                "consumers": list(network.streams[index].consumers),
                "order": order.tolist(),
            }
            for index, order in orders.items()
        ],
    }
    out = Path(options.out)
    weights.save(out / "model.pdparams", permuted)
    files.write_json(out / "permutation.json", record)
    cli.log.info(
        "reordered the channels of %d tensors in %.0f s: mask_1d keeps %.2f %% of the magnitude "
        "instead of %.2f %%; largest difference of a class probability %.1e",
        len(orders),
        seconds,
        100 * kept["after"],
        100 * kept["before"],
        difference,
    )


def _difference(network, dense: dict, permuted: dict, settings: dict) -> float:
    """The largest difference of a class probability between two states, on random images."""
    from twofour import model, program

    import paddle

    built = program.build_inference(network, settings["data"], "cpu")
    place = program.place("cpu")
    executor = paddle.static.Executor(place)
    executor.run(built.startup)
    predict = built.predictor(executor)
    names = model.state_names(network)
    weights.require(dense, names, "the dense network")
    shape = (IMAGES, *program.input_shape(network, settings["data"]["image_size"])[1:])
    images = np.random.default_rng(settings["seed"]).standard_normal(shape).astype(np.float32)
    outputs = []
    for state in (dense, permuted):
        weights.write_scope({name: state[name] for name in names}, place)
        outputs.append(predict(images))
    return float(np.abs(outputs[0] - outputs[1]).max())


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--weights", required=True, metavar="FILE", help="dense model.pdparams")
    parser.add_argument("--threads", default="auto", metavar="N", help="processor threads")
    parser.add_argument(
        "--training", metavar="FILE", help="its train.json: refuse what did not learn"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    cli.run(main, parser)
