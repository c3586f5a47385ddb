#!/usr/bin/env python3
"""Check every image of a folder and write file lists, class names and a summary.

Uses the config's section data and its seed.
"""

from __future__ import annotations

from twofour import cli, config, dataset, files, hardware


def main(options) -> None:
    settings = config.load(options.config)
    flat_val = words = None
    if options.imagenet:
        found = files.read_json(options.imagenet)
        root, flat_val, words = found["images"], found["val"], found["words"]
    else:
        root = options.root or config.require_root(settings)
    workers = options.workers or hardware.cores()
    summary = dataset.prepare(
        root, options.out, settings["data"], settings["seed"], workers, flat_val, words
    )
    cli.log.info(
        "%d training and %d validation images of %d classes; %d files rejected",
        summary["images"]["train"],
        summary["images"]["val"],
        summary["classes"],
        summary["rejected"],
    )
    if summary["leaks"]["count"]:
        first = summary["leaks"]["pairs"][0]
        cli.log.warning(
            "warning: %d images are in both splits, so accuracies flatter; the first is %s = %s",
            summary["leaks"]["count"],
            first["train"],
            first["val"],
        )
    turned = summary["turned_by_exif"]
    if turned["count"]:
        cli.log.warning(
            "warning: %d images are turned or mirrored by their EXIF orientation, which is not "
            "applied here, such as %s; turn their pixels if what you deploy will see them upright",
            turned["count"],
            turned["paths"][0],
        )


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--root", metavar="DIR", help="folder of images (instead of data.root)")
    parser.add_argument(
        "--imagenet",
        metavar="FILE",
        help="what unpack_imagenet.py has written (instead of a folder)",
    )
    parser.add_argument("--workers", type=int, help="processes that decode (default: all cores)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the artifacts")
    cli.run(main, parser)
