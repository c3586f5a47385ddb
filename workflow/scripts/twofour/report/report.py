"""The report: table, plots, configuration and provenance on one self-contained page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from ..artifacts import (
    BUILT,
    CHOICE,
    COMPARISON,
    DATASET,
    DESCRIPTION,
    PARETO_PLOT,
    PATH,
    PLOT,
    PROVENANCE,
    SENSITIVITY,
    SENSITIVITY_FOLDER,
    SENSITIVITY_PLOT,
    SPARSITY,
    TRAINING,
)
from ..data import findings
from ..deploy import snippet
from ..models import DENSE, PRUNED, SPARSE, Model, branches, in_case, of_first_seed, of_kind
from ..sparse import choice
from ..sparse.sensitivity import LAYER
from ..system import progress
from ..system.files import read_json, read_text
from ..train import seen
from . import classes, compare, display, outcome, template, words
from .captions import PLOTS

TEMPLATE = "report.html.j2"  # beside this module


def render(
    results: Path,
    models: Sequence[Model],
    cases: Sequence[tuple[str, str]],
    weighed: str | Sequence[str] = (),
    chosen: bool = False,
) -> str:
    """The page of the run in folder ``results``, as HTML; ``cases`` are (backend, precision).

    ``weighed`` are the algorithms of which it was measured what they cost in each layer, ``chosen``
    says whether layers were chosen by that.
    """
    shown = in_case(of_first_seed(models), cases[0][1])  # in pictures and lists
    provenance = read_json(results / PROVENANCE)
    dataset = read_json(results / "dataset" / DATASET)
    dense = read_json(results / DENSE / TRAINING)
    table = compare.read(results / COMPARISON, models)
    found = outcome.read(table)
    judged = classes.read(results, shown, "-".join(cases[0]))
    deployed = [
        (
            model.name,
            read_json(results / BUILT.format(model=model.name, case=f"{backend}-{precision}")),
        )
        for model in of_kind(shown, SPARSE)
        for backend, precision in cases
    ]
    sparsity = [read_json(results / model.name / SPARSITY) for model in of_kind(shown, PRUNED)]
    return template.fill(
        TEMPLATE,
        run=provenance["config"]["run"],
        verdict=words.verdict(found),
        words=[
            " ".join(words.details(found)),
            *(_sparsity_words(report) for report in sparsity),
            *_kernel_words(deployed),
        ],
        grids={"Accuracy": display.accuracy(table), "Speed": display.speed(table)},
        square=display.square(table),
        notes=display.notes(table),
        left=display.WORDS,
        duration=progress.about(sum(job["seconds"] for job in provenance["stages"].values())),
        judged=(judged.base, judged.sparse[0]),
        apart=classes.disagreements(judged, judged.sparse[0]),
        layers=sparsity[0]["layers"],
        weighed=_sensitivity(results, weighed, chosen),
        pictures={n: (_svg(results / PLOT.format(name=n)), text) for n, text in PLOTS.items()},
        dataset=dataset,
        warnings=[*findings.warnings(dataset), *_known(dense)],
        dense=dense,
        use=_use(results, shown),
        config=yaml.safe_dump(provenance["config"], sort_keys=False, allow_unicode=True),
        provenance=provenance,
    )


def _use(results: Path, models: Sequence[Model]) -> dict[str, str]:
    """The folder of the first sparse model, and lines of Python that classify an image with it."""
    folder = f"{results.as_posix()}/deploy/{of_kind(models, SPARSE)[0].name}"
    return {"folder": folder, "lines": snippet.text(read_json(Path(folder) / DESCRIPTION), folder)}


def _sensitivity(results: Path, algorithms: str | Sequence[str], chosen: bool) -> list[dict]:
    """What pruning costs layer by layer, by each of the ``algorithms``: a sentence and pictures."""
    found = []
    for suffix, algorithm in branches(algorithms).items():
        folder = results / f"{SENSITIVITY_FOLDER}{suffix}"
        table = choice.read(folder / SENSITIVITY, choice.UNITS)
        path = choice.read(folder / PATH, choice.PATH)
        made = read_json(folder / CHOICE) if chosen else None
        pictures = {
            "pareto": _svg(folder / PARETO_PLOT, algorithm),
            "layers": _svg(folder / SENSITIVITY_PLOT, algorithm),
        }
        words = _cost_words(algorithm, table, path, made)
        found.append({"words": words, "pictures": pictures})
    return found


def _cost_words(
    algorithm: str, table: pd.DataFrame, walked: pd.DataFrame, chosen: Mapping | None
) -> str:
    """What was measured and, if layers were ``chosen`` by it, how that came out."""
    whole, layers = walked.iloc[-1], table[table.kind == LAYER]
    most = layers.sort_values("cost").unit.iloc[-1].removesuffix(".weight")
    text = (
        f"Pruned by {algorithm} and not retrained, all {whole.layers} layers together cost "
        f"{whole.top1_drop:.2f} points of top-1 on images of the training list; {most} costs most."
    )
    if not chosen:
        return text
    return (
        f"{text} Within {chosen['max_top1_drop']:g} points, {chosen['layers']} of the "
        f"{chosen['of']} became sparse; together they cost {chosen['top1_drop']:.2f} points before "
        f"retraining, and save {chosen['gain']:.1f} % of the multiplications instead of "
        f"{whole.gain:.1f} %."
    )


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


def _known(training: dict) -> list[str]:
    """A sentence if the weights that the run began with had seen validation images."""
    known, total = training["known_val_images"], training["val_images"]
    if known is None:
        return [
            "nothing says whether the weights that the run began with have been trained on "
            "validation images"
        ]
    return [seen.sentence(known, total)] if known else []


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


def _svg(path: Path, prefix: str = "") -> str:
    """The plot as an element for a page: without the XML header, names made unique."""
    text = read_text(path)
    text = text[text.index("<svg") :]
    for name in sorted(set(re.findall(r'\bid="([^"]+)"', text)), key=len, reverse=True):
        text = re.sub(
            rf'(id="|href="#|url\(#){re.escape(name)}(["\)])',
            rf"\g<1>{prefix}{path.stem}-{name}\2",
            text,
        )
    return text
