#!/usr/bin/env python3
"""Measure what pruning each layer, block and stage costs, without retraining.

Takes images of the training list alone; those for validation play no part in what is pruned. A
measurement that was stopped goes on where it was.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import PATH, SENSITIVITY, SENSITIVITY_NOTES
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.data import lists, loader
    from twofour.network import pieces, weights
    from twofour.sparse import choice, inputs, layers, prune, sensitivity
    from twofour.system import libraries, progress
    from twofour.system.settings import Hardware
    from twofour.train import metrics

    settings = stages.load(options.config, "measure_sensitivity")
    if options.training and settings.sparsity.require_learnt:
        metrics.require_learnt(files.read_json(options.training), options.training)
    machine = libraries.prepare(Hardware(device="cpu", threads=settings.hardware.threads))
    dense, network = weights.load_network(options.weights, settings.model)
    choices = layers.choose(network.weights, settings.sparsity.include, settings.sparsity.exclude)
    layers.require_some(choices)
    names = layers.chosen(choices)
    norms = inputs.load(options.inputs, network.weights) if options.inputs else None
    pruned, _ = prune.prune(dense, names, options.algorithm, norms)
    size = settings.data.image_size
    gains = choice.gains(network, names, pieces.multiplications(network, size))
    saved = _saved(options.speeds, names) if options.speeds else None
    images = lists.sample(lists.read_training(options.data), settings.sparsity.images)
    pictures = loader.for_evaluation(
        images, settings.data, network.input_channels, sensitivity.BATCH, machine
    )
    networks = sensitivity.Networks(network, dense, pruned, names, machine.threads, size)
    units = sensitivity.units(network, names)
    single = sensitivity.networks(units, names)
    given = (options.weights, options.inputs, *(options.speeds or ()))
    key = stages.digest(
        *(options.config, options.algorithm, stages.code("measure_sensitivity")),
        *(files.sha256(path) for path in given if path),
        *images.paths,
    )
    steps = pictures.steps
    walked = choice.points(len(names))
    passes = networks.work(single) + 2 + len(walked)
    shape = (sensitivity.BATCH, network.input_channels, size, size)
    duration = steps * networks.seconds(shape) * passes
    cli.log.info(
        "%d networks on %d images, about %s",
        *(len(single) + len(walked), len(images.paths), progress.about(duration)),
    )
    out = Path(options.out)

    def batches():
        for batch, positions in pictures.epoch():
            yield batch, images.labels[positions]

    def measure(sets, what):
        total = steps * len(sets)
        notes = sensitivity.Notes(out / SENSITIVITY_NOTES.format(what=what), f"{key} {what}")
        if notes.done:
            cli.log.info("going on after batch %d of %d (%s)", notes.done, steps, what)
        with progress.bar(total, what, "pass") as bar:
            return sensitivity.measure(networks, sets, batches(), notes, bar.update)

    out.mkdir(parents=True, exist_ok=True)
    found = measure(single, "layers")
    costs = sensitivity.costs(found, names)
    ordered = choice.order(costs, saved or gains)
    path = [choice.begin(ordered, count) for count in (0, *walked)]
    found.update(measure(path, "path"))
    with files.atomic(out / SENSITIVITY) as temporary:
        choice.table(units, found, names, costs, gains, saved).to_csv(temporary, index=False)
    with files.atomic(out / PATH) as temporary:
        choice.path(ordered, found, gains, saved).to_csv(temporary, index=False)
    for what in ("layers", "path"):
        (out / SENSITIVITY_NOTES.format(what=what)).unlink(missing_ok=True)
    whole = found[frozenset(names)]
    cli.log.info(
        "top-1 on these training images %.2f %%, with all %d layers pruned by %s %.2f %%; pruning "
        "%s costs most, %s least",
        *(found[frozenset()].top1, len(names), options.algorithm, whole.top1),
        *(max(costs, key=costs.__getitem__), min(costs, key=costs.__getitem__)),
    )


def _saved(speeds, names) -> dict[str, float] | None:
    """Milliseconds that each layer is faster when pruned, by two benchmarks that timed layers."""
    from twofour.deploy import sparsity_log

    measured = [files.read_json(path) for path in speeds]
    largest = max(measured[0], key=int)
    dense, pruned = (found[largest].get("layer_ms") for found in measured)
    if not (dense and pruned):
        cli.log.warning("warning: %s does not say how long layers take", speeds[0])
        return None
    return sparsity_log.saved(dense, pruned, names)


def arguments(parser) -> None:
    from twofour.sparse.masks import ALGORITHMS

    parser.add_argument(
        "--data", required=True, metavar="DIR", help="the dataset stage's artifacts"
    )
    parser.add_argument("--weights", required=True, metavar="FILE", help="dense model.pdparams")
    parser.add_argument(
        "--training", metavar="FILE", help="its train.json: refuse a network that did not learn"
    )
    parser.add_argument(
        "--inputs", metavar="FILE", help="inputs.npz, for algorithms that go by inputs"
    )
    parser.add_argument(
        "--speeds",
        nargs=2,
        metavar="FILE",
        help="benchmarks of the dense and the pruned network that timed each layer",
    )
    parser.add_argument("--algorithm", default="mask_1d", choices=list(ALGORITHMS))
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
