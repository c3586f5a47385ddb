#!/usr/bin/env python3
"""Classify images with a finished model, in any backend that it has been built for.

Images are decoded and prepared as in the evaluation of a run, so the predictions are equal. What
cannot be read is named on the screen, left out, and makes the exit status 1.
"""

from __future__ import annotations

from twofour import command
from twofour.system import cli, files
from twofour.system.errors import TwoFourError

NAMED = 10  # unreadable images that are named on the screen


def main(options) -> None:
    from twofour.deploy import inputs, predictions
    from twofour.deploy.predicting import Prediction

    import numpy as np

    form = predictions.format_of(options.out, "--out", options.format)
    prediction = Prediction(options)
    model = prediction.model
    paths = inputs.gather(options.images)
    verdicts = inputs.inspect(paths, prediction.workers)
    good = [(p, v) for p, v in zip(paths, verdicts) if not v.reason]
    bad = [(p, v.reason) for p, v in zip(paths, verdicts) if v.reason]
    if len(bad) > 1:
        for path, reason in bad[:NAMED]:
            cli.log.warning("%s: %s", path, reason)
    if good:
        names = [path for path, _ in good]
        images = inputs.split(names, [0] * len(names), [v for _, v in good], model.turns)
        probabilities = np.empty((len(names), len(model.classes)), np.float32)
        for found, positions in prediction.batches(images):
            probabilities[positions] = found
        top = min(options.top, len(model.classes))
        rows = predictions.rows(names, probabilities, model.classes, top)
        text = predictions.text(rows, form)
        if options.out:
            files.write_text(options.out, text)
            backend, precision = prediction.case
            cli.log.info(
                "%s: %d images, classified by %s %s in %s %s",
                *(options.out, len(names), model.about["model"], model.folder, backend, precision),
            )
        else:
            cli.say(text.rstrip("\n"))
    if bad:
        path, reason = bad[0]
        raise TwoFourError(
            f"{len(bad)} of {len(paths)} files cannot be read and were left out; the first is "
            f"{path}: {reason}"
            if len(paths) > 1
            else f"{path}: {reason}"
        )


def arguments(parser) -> None:
    from twofour.deploy import predicting
    from twofour.deploy.predictions import FORMATS

    predicting.add_arguments(parser)
    parser.add_argument(
        "images",
        metavar="IMAGE|FOLDER|LIST",
        nargs="+",
        help="image files, folders of them, or text files with a path on each line",
    )
    parser.add_argument(
        "--top", type=predicting.positive, metavar="K", default=3, help="classes for each image"
    )
    parser.add_argument("--format", choices=FORMATS, help="default: by the ending of --out")
    parser.add_argument("--out", metavar="FILE", help="write to this file, not to the screen")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
