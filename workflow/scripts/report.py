#!/usr/bin/env python3
"""Write report.html: the table, the pictures, the config and the provenance on one page.

The page needs no other file and no network. Uses the config's
sections sparsity (algorithm) and deploy.
"""

from __future__ import annotations

import re
from pathlib import Path

from twofour import cli, comparison, config, deploy, files, names
from twofour.names import DENSE, PRUNED, SPARSE

import jinja2
import yaml

TEMPLATES = Path(__file__).resolve().parents[1] / "report"
PICTURES = {
    "training": "Training: the sparse network starts from the pruned weights and uses the same "
    "hyper-parameters.",
    "models": "Accuracy, and throughput on synthetic input.",
    "layers": "Layer by layer: the share of the dense weights' magnitude that pruning kept, the "
    "density after retraining, and, where TensorRT was allowed sparse kernels, which layers run on "
    "one.",
}


def main(options) -> None:
    results = Path(options.results)
    provenance = files.read_json(results / "provenance.json")
    table = comparison.read(results / "comparison.csv")
    settings = config.load(options.config)
    branches = names.branches(settings["sparsity"]["algorithm"])
    deployed = [
        (SPARSE + branch, files.read_json(_built(results, SPARSE + branch, *case)))
        for branch in branches
        for case in deploy.cases(settings["deploy"])
    ]
    sparsity = {
        branch: files.read_json(results / f"{PRUNED}{branch}" / "sparsity.json")
        for branch in branches
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        run=provenance["config"]["run"],
        words=[
            comparison.words(table),
            *(_sparsity_words(sparsity[b]) for b in branches),
            *_kernel_words(deployed),
        ],
        headings=comparison.headings(table),
        notes=comparison.notes(table),
        rows=comparison.cells(table),
        kinds=list(table["model"].map(names.kind)),
        layers=next(iter(sparsity.values()))["layers"],
        pictures=[(_svg(results / "plots" / f"{n}.svg"), text) for n, text in PICTURES.items()],
        dataset=files.read_json(results / "dataset" / "dataset.json"),
        dense=files.read_json(results / DENSE / "train.json"),
        config=yaml.safe_dump(provenance["config"], sort_keys=False, allow_unicode=True),
        provenance=provenance,
    )
    files.write_text(results / "report.html", page)
    cli.log.info("wrote %s", results / "report.html")


def _sparsity_words(report: dict) -> str:
    """A sentence on what one algorithm pruned and kept, and where it hurt most."""
    total, sparse = report["total"], [row for row in report["layers"] if row["sparse"]]
    least = min(sparse, key=lambda row: row["kept_magnitude"])
    without = total.get("kept_magnitude_unpermuted")
    permuted = (
        f" (without the permutation of channels, {100 * without:.1f} %)"
        if without is not None
        else ""
    )
    return (
        f"{report['algorithm']} made {total['layers']} of {len(report['layers'])} layers 2:4 "
        f"sparse, {total['weights']:,} weights, and kept {100 * total['kept_magnitude']:.1f} % of "
        f"their magnitude{permuted}; least in {least['name'].replace('.weight', '')}, "
        f"{100 * least['kept_magnitude']:.1f} %."
    )


def _built(results: Path, model: str, backend: str, precision: str) -> Path:
    return results / "deploy" / model / f"{backend}-{precision}" / deploy.BUILD


def _kernel_words(deployed: list[tuple[str, dict]]) -> list[str]:
    """A sentence for each deployed model whose backend says which layers run on sparse kernels."""
    sentences = []
    for model, record in deployed:
        engines = {
            name: facts
            for name, facts in record.get("engines", {}).items()
            if facts["eligible_count"] is not None and facts["picked_count"] is not None
        }
        if record["sparse_kernels"] and engines:
            counts = ", ".join(
                f"{facts['picked_count']} of {facts['eligible_count']} in the engine {name}"
                for name, facts in engines.items()
            )
            sentences.append(
                f"{model} in {record['backend']} {record['precision']}: of the layers that sparse "
                f"kernels fit, TensorRT found them faster than dense ones for {counts}."
            )
    return sentences


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
