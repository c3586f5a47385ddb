#!/usr/bin/env python3
"""Extract ImageNet's official archives into a tree of images, or find what was extracted before.

The tree is in ROOT/images; if it is complete, nothing is done.
"""

from __future__ import annotations

from twofour import command
from twofour.system import cli, files, hardware


def main(options) -> None:
    from twofour import stages
    from twofour.data import imagenet, tree

    settings = stages.load(options.config, "unpack_imagenet")
    root = options.root or tree.require_root(settings.data)
    record = imagenet.prepare(root, options.workers or hardware.cores())
    files.write_json(options.out, record)
    names = "with readable names" if record["words"] else "without readable names of the classes"
    cli.log.info("the images are in %s, %s", record["images"], names)


def arguments(parser) -> None:
    parser.add_argument(
        "--root", metavar="DIR", help="folder with the archives (instead of data.root)"
    )
    parser.add_argument("--workers", type=int, help="processes that extract (default: all cores)")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
