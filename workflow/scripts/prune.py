#!/usr/bin/env python3
"""Prune a dense network to 2:4 sparsity, without retraining.

Uses the config's sections model and sparsity (all but algorithm and permute).
"""

from __future__ import annotations

from pathlib import Path

from twofour import architecture, cli, config, files, masks, metrics, pruning, sparsity, weights


def main(options) -> None:
    settings = config.load(options.config)
    if options.training and settings["sparsity"]["require_learnt"]:
        metrics.require_learnt(files.read_json(options.training), options.training)
    dense = weights.load(options.weights)
    network = architecture.resnet(settings["model"], weights.classes(dense, options.weights))
    weights.require_shapes(dense, network.weights, options.weights)
    choices = sparsity.choose(network.weights, **_patterns(settings))
    sparsity.require_some(choices)
    names = sparsity.chosen(choices)
    pruned, kept = pruning.prune(dense, names, options.algorithm)
    sparsity.require(pruned, names, "the pruned network")
    report = sparsity.report(pruned, choices, before=dense)
    total = report["total"]
    if options.unpermuted:
        _add_unpermuted(report, options, names)

    out = Path(options.out)
    masks.save(out / "masks.npz", kept)
    weights.save(out / "model.pdparams", pruned)
    files.write_json(out / "sparsity.json", {"algorithm": options.algorithm, **report})
    without = total.get("kept_magnitude_unpermuted")
    cli.log.info(
        "pruned %d of %d layers to density %.3f by %s; %.2f %% of their magnitude is kept%s",
        total["layers"],
        len(network.weights),
        total["density"],
        options.algorithm,
        100 * total["kept_magnitude"],
        f" (without permutation {100 * without:.2f} %)" if without else "",
    )


def _patterns(settings: dict) -> dict:
    return {key: settings["sparsity"][key] for key in ("include", "exclude")}


def _add_unpermuted(report: dict, options, names: list[str]) -> None:
    """Add to the report what the same algorithm keeps where the channels are not permuted."""
    before = weights.load(options.unpermuted)
    weights.require(before, names, options.unpermuted)
    after, _ = pruning.prune(before, names, options.algorithm)
    for row in report["layers"]:
        if row["sparse"]:
            share = sparsity.kept_magnitude(after, before, [row["name"]])
            row["kept_magnitude_unpermuted"] = share
    total = sparsity.kept_magnitude(after, before, names)
    report["total"]["kept_magnitude_unpermuted"] = total


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--weights", required=True, metavar="FILE", help="dense model.pdparams")
    parser.add_argument(
        "--unpermuted", metavar="FILE", help="the weights before permutation, to compare with"
    )
    parser.add_argument("--algorithm", default="mask_1d", choices=list(pruning.ALGORITHMS))
    parser.add_argument(
        "--training", metavar="FILE", help="its train.json: refuse what did not learn"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    cli.run(main, parser)
