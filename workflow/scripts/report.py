#!/usr/bin/env python3
"""Write report.html: the table, the pictures, the config and the provenance on one page.

The page needs no other file and no network.
"""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import yaml
from twofour import cli, comparison, files
from twofour.names import DENSE, SPARSE

TEMPLATES = Path(__file__).resolve().parents[1] / "report"
PICTURES = {
    "training": "Training: the sparse network starts from the pruned weights and uses the same "
    "hyper-parameters.",
    "models": "Accuracy, and throughput on synthetic input.",
    "density": "Share of non-zero weights in each layer.",
}


def main(options) -> None:
    results = Path(options.results)
    provenance = files.read_json(results / "provenance.json")
    table = comparison.read(results / "comparison.csv")
    trainings = {name: files.read_json(results / name / "train.json") for name in (DENSE, SPARSE)}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        run=provenance["config"]["run"],
        words=comparison.words(table),
        headings=comparison.headings(),
        rows=comparison.cells(table),
        models=list(table["model"]),
        pictures=[(_svg(results / "plots" / f"{n}.svg"), text) for n, text in PICTURES.items()],
        dataset=files.read_json(results / "dataset" / "dataset.json"),
        trainings=trainings,
        config=yaml.safe_dump(provenance["config"], sort_keys=False, allow_unicode=True),
        provenance=provenance,
    )
    files.write_text(results / "report.html", page)
    cli.log.info("wrote %s", results / "report.html")


def _svg(path: Path) -> str:
    """The picture as an element for a page: without the XML header, names made unique."""
    text = files.read_text(path)
    text = text[text.index("<svg") :]
    for name in sorted(set(re.findall(r'\bid="([^"]+)"', text)), key=len, reverse=True):
        text = re.sub(
            rf'(id="|href="#|url\(#){re.escape(name)}(["\)])', rf"\g<1>{path.stem}-{name}\2", text
        )
    return text


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--results", required=True, metavar="DIR", help="results/<run>")
    cli.run(main, parser)
