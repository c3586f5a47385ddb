#!/usr/bin/env python3
"""Check every image of a folder and write file lists, class names and a summary."""

from __future__ import annotations

from twofour import command
from twofour.system import files, hardware


def main(options) -> None:
    from twofour import stages
    from twofour.data import dataset, tree

    settings = stages.load(options.config, "prepare_dataset")
    flat_val = words = None
    if options.imagenet:
        archive = files.read_json(options.imagenet)
        root, flat_val, words = archive["images"], archive["val"], archive["words"]
    else:
        root = options.root or tree.require_root(settings.data)
    workers = options.workers or hardware.cores()
    origin = options.origin
    summary = dataset.prepare(root, options.out, settings.data, workers, flat_val, words, origin)
    dataset.tell(summary)


def arguments(parser) -> None:
    parser.add_argument("--root", metavar="DIR", help="folder of images (instead of data.root)")
    parser.add_argument(
        "--imagenet",
        metavar="FILE",
        help="what unpack_imagenet.py wrote (instead of a folder)",
    )
    parser.add_argument("--origin", help="text for dataset.json that identifies what it is made of")
    parser.add_argument("--workers", type=int, help="processes that decode (default: all cores)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the artifacts")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
