#!/usr/bin/env python3
"""Build an exported model for an inference backend."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends, build, profiles
    from twofour.sparse import check
    from twofour.system import libraries

    for_batches = backends.about(options.backend).for_batches
    settings = stages.load(options.config, "build_for_batches" if for_batches else "build")
    libraries.prepare(settings.hardware)
    batches = (
        profiles.make(settings.benchmark.batch_sizes, settings.evaluation.batch_size)
        if for_batches
        else []
    )
    record = build.build(
        options.backend,
        options.precision,
        Path(options.model),
        Path(options.out),
        backends.target(options.backend, settings.hardware),
        batches,
        Path(options.like) if options.like else None,
    )
    if options.sparsity:
        build.require_sparse(Path(options.out), check.listed(options.sparsity))
    cli.log.info(
        "%s %s, %s, %s: %.2f MB",
        record["backend"],
        record["version"],
        record["precision"],
        record["device_name"],
        record["size_mb"],
    )


def arguments(parser) -> None:
    from twofour.deploy import backends

    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument("--backend", required=True, choices=backends.NAMES)
    parser.add_argument("--precision", default="fp32", choices=backends.PRECISIONS)
    parser.add_argument(
        "--like", metavar="DIR", help="an earlier build of the same network, for kernel timings"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for what is built")
    parser.add_argument(
        "--sparsity",
        metavar="FILE",
        help="a sparsity.json: what it lists must be 2:4 sparse in model files that are built",
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
