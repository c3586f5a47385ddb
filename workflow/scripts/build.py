#!/usr/bin/env python3
"""Build an exported model for an inference backend.

Uses the config's section hardware and, for backends that are built for certain batch sizes,
benchmark (batch_sizes) and evaluation (batch_size).
"""

from __future__ import annotations

from pathlib import Path

from twofour import cli, config, deploy, hardware
from twofour.deploy import profiles


def main(options) -> None:
    settings = config.load(options.config)
    hardware.prepare(settings["hardware"])
    machine = deploy.place(options.backend, settings["hardware"])
    batches = profiles.make(
        settings["benchmark"]["batch_sizes"], settings["evaluation"]["batch_size"]
    )
    record = deploy.build(
        options.backend,
        options.precision,
        Path(options.model),
        Path(options.out),
        machine,
        batches if deploy.for_batches(options.backend) else [],
    )
    cli.log.info(
        "%s %s, %s, %s: %.2f MB",
        record["backend"],
        record["version"],
        record["precision"],
        record["device_name"],
        record["size_mb"],
    )


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    backends = config.schema()["properties"]["deploy"]["properties"]["backends"]["items"]["enum"]
    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument("--backend", required=True, choices=backends)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for what is built")
    cli.run(main, parser)
