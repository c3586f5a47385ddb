#!/usr/bin/env python3
"""Say what sparsity, int8 and rivals will buy, from what was measured before any training."""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import PREVIEW_PAGE, PREVIEW_TABLE, PREVIEW_TEXT, PREVIEW_VERDICT
from twofour.system import cli, files


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends
    from twofour.report import preview

    settings = stages.load(options.config, "summarize_preview")
    folder = Path(options.preview)
    cases = backends.cases(settings.deploy.backends, settings.deploy.precisions)
    known, sizes = models.read(options.models), settings.benchmark.batch_sizes
    trainings = [model for model in known if model.made == models.TRAINING]
    found = preview.read(folder, models.previewed(known), cases, sizes, trainings)
    with files.atomic(folder / PREVIEW_TABLE) as temporary:
        found.table.frame.dropna(axis=1, how="all").to_csv(temporary, index=False)
    files.write_text(folder / PREVIEW_TEXT, preview.markdown(found))
    files.write_text(folder / PREVIEW_PAGE, preview.page(found, folder.parent.name))
    files.write_text(folder / PREVIEW_VERDICT, preview.terminal(found, folder / PREVIEW_PAGE))
    cli.log.info("%s", preview.verdict(found)[0])


def arguments(parser) -> None:
    parser.add_argument("--models", required=True, metavar="FILE", help="models.json")
    parser.add_argument("--preview", required=True, metavar="DIR", help="results/<run>/preview")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
