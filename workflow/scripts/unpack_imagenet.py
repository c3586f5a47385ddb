#!/usr/bin/env python3
"""Extract ImageNet's official archives into a tree of images, or find what was extracted before.

Uses the config's section data. The tree lies in ROOT/images; if it is complete, nothing is done.
"""

from __future__ import annotations

from twofour import cli, config, files, hardware, imagenet


def main(options) -> None:
    settings = config.load(options.config)
    root = options.root or config.require_root(settings)
    workers = options.workers or hardware.cores()
    record = imagenet.prepare(root, workers)
    files.write_json(options.out, record)
    names = "with readable names" if record["words"] else "without readable names of the classes"
    cli.log.info("the images are in %s, %s", record["images"], names)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--root", metavar="DIR", help="folder with the archives (instead of data.root)"
    )
    parser.add_argument("--workers", type=int, help="processes that extract (default: all cores)")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    cli.run(main, parser)
