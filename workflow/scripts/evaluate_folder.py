#!/usr/bin/env python3
"""Measure a finished model's accuracy on another folder of labelled images.

Every image counts exactly once, as in the evaluation of a run. Folders of classes are matched by
their names; files that cannot be read are named, counted apart and not part of the accuracy.
"""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.system import cli, files
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour.deploy import inputs, labelled, predictions
    from twofour.deploy.predicting import Prediction

    form = predictions.format_of(options.predictions, "--predictions")
    if options.out:
        files.require_writable(options.out)
    prediction = Prediction(options)
    model = prediction.model
    paths, labels = inputs.labelled(options.folder, model.classes)
    verdicts = inputs.inspect(paths, prediction.workers)
    good = [i for i, verdict in enumerate(verdicts) if not verdict.reason]
    rejected = [(paths[i], v.reason) for i, v in enumerate(verdicts) if v.reason]
    if not good:
        path, reason = rejected[0]
        raise TwoFourError(f"none of {len(paths)} files can be read; the first is {path}: {reason}")
    names = [paths[i] for i in good]
    images = inputs.split(
        names, [labels[i] for i in good], [verdicts[i] for i in good], model.turns
    )
    result, probabilities = labelled.evaluate(prediction.batches(images), images, model.classes)
    known = labelled.known(model.folder, [verdicts[i].digest for i in good])
    backend, precision = prediction.case
    summary = {
        "model": str(model.folder),
        "backend": backend,
        "precision": precision,
        "folder": str(Path(options.folder)),
        **result,
        "training_images": known,
        "rejected": [{"path": path, "reason": reason} for path, reason in rejected],
    }
    if options.out:
        files.write_json(options.out, summary)
    if options.predictions:
        top = min(5, len(model.classes))
        rows = predictions.rows(names, probabilities, model.classes, top)
        files.write_text(options.predictions, predictions.text(rows, form))
    cli.say(labelled.table(summary))
    for sentence in labelled.warnings(summary):
        cli.log.warning("warning: %s", sentence)


def arguments(parser) -> None:
    from twofour.deploy import predicting

    predicting.add_arguments(parser)
    parser.add_argument("folder", metavar="FOLDER", help="holds <class>/<image>")
    parser.add_argument("--out", metavar="FILE", help="also write the figures as JSON")
    parser.add_argument(
        "--predictions", metavar="FILE", help="also write each image's classes (.csv or .json)"
    )


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
