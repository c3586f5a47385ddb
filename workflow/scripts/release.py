#!/usr/bin/env python3
"""Write release/<model>/ of the dense and the sparse models: all that is handed on of each."""

from __future__ import annotations

from pathlib import Path

from twofour import command, models
from twofour.artifacts import COMPARISON, MODELS
from twofour.system import cli, sections

RECIPE = ("data", "model", "train", "sparsity")  # sections that the card states


def main(options) -> None:
    from twofour import stages
    from twofour.deploy import backends
    from twofour.report import compare, release

    settings = stages.load(options.config, "release")
    results = Path(options.results)
    known = models.read(results / MODELS)
    table = compare.read(results / COMPARISON, known)
    cases = backends.cases(settings.deploy.backends, settings.deploy.precisions)
    recipe = {name: sections.as_dict(getattr(settings, name)) for name in RECIPE}
    if recipe["train"]["init"]:  # where it lies is nobody's business
        recipe["train"]["init"] = Path(recipe["train"]["init"]).name
    terms = release.Terms(
        settings.run,
        recipe,
        settings.release.license,
        settings.release.preprocessing,
        settings.benchmark.batch_sizes,
    )
    for model in known:
        if model.kind in release.KINDS and not model.head:
            cli.log.info("wrote %s", release.make(results, model, table, cases, terms))


def arguments(parser) -> None:
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
