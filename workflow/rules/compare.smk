# everything measured → the table, the plots, the page

COMPARISON = f"{RESULTS}/{artifacts.COMPARISON}"
TABLE_OF_MODELS = f"{RESULTS}/{artifacts.MODELS}"
SPARSITY = {
    kind: [f"{RESULTS}/{name}/{artifacts.SPARSITY}" for name in of_kind(kind)]
    for kind in (PRUNED, SPARSE)
}

# Image by image, in the first of the backends.
PREDICTED = expand(
    path_of(artifacts.PREDICTIONS, CASE_NAMES[0]),
    model=[model.name for model in models.in_case(MODELS, CASES[0][1])],
)


rule list_models:
    output:
        models=TABLE_OF_MODELS,
    log:
        f"{LOGS}/list_models.log",
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("list_models"),
        code=code("list_models"),
    shell:
        'exec sh "$TWOFOUR" list_models --config {params.config:q} --out {output.models:q} --log {log:q}'


rule compare:
    input:
        dataset=dataset,
        models=TABLE_OF_MODELS,
        lists=[*LISTS.values()],
        evaluations=in_cases(artifacts.EVALUATION),
        predictions=in_cases(artifacts.PREDICTIONS),
        speeds=in_cases(artifacts.SPEED, models.of_first_seed(MODELS)),
        references=(
            [path_of(artifacts.REFERENCE).format(model=n) for n in NAMES if n not in LEARNT]
            if WITH_INT8
            else []
        ),
        weights=[f"{RESULTS}/{name}/{artifacts.WEIGHTS}" for name in NAMES],
        sparsity=SPARSITY[PRUNED],
    output:
        table=report(
            COMPARISON,
            caption="../report/comparison.rst",
            category="Results",
            labels={"what": "table"},
        ),
        text=f"{RESULTS}/{artifacts.COMPARISON_TEXT}",
        verdict=f"{RESULTS}/{artifacts.VERDICT}",
        classes=f"{RESULTS}/{artifacts.CLASS_TABLE}",
        confusion=f"{RESULTS}/{artifacts.CONFUSION}",
    log:
        f"{LOGS}/compare.log",
    benchmark:
        f"{LOGS}/compare.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        program="compare",
        config=settings("compare"),
        code=code("compare"),
        results=subpath(input.models, parent=True),
    shell:
        'exec sh "$TWOFOUR" {params.program} --config {params.config:q} --results {params.results:q}'
        " --log {log:q}"


use rule compare as plot with:
    input:
        dataset=dataset,
        models=TABLE_OF_MODELS,
        table=COMPARISON,
        metrics=[f"{RESULTS}/{name}/{artifacts.METRICS}" for name in TRAININGS],
        sparsity=[*SPARSITY[PRUNED], *SPARSITY[SPARSE]],
        builds=in_cases(artifacts.BUILT),
        lists=[*LISTS.values()],
        predictions=PREDICTED,
    output:
        **{
            name: report(
                f"{RESULTS}/{artifacts.PLOT.format(name=name)}",
                caption=f"../report/{name}.rst",
                category="Results",
                labels={"what": f"plot: {name}"},
            )
            for name in artifacts.PLOTS
        },
    log:
        f"{LOGS}/plot.log",
    benchmark:
        f"{LOGS}/plot.tsv"
    localrule: True
    params:
        program="plot",
        config=settings("plot"),
        code=code("plot"),
        results=subpath(input.models, parent=True),


use rule compare as record_provenance with:
    input:
        dataset=dataset,
        models=TABLE_OF_MODELS,
        table=COMPARISON,
        plots=rules.plot.output,
    output:
        provenance=f"{RESULTS}/{artifacts.PROVENANCE}",
    log:
        f"{LOGS}/record_provenance.log",
    benchmark:
        f"{LOGS}/record_provenance.tsv"
    localrule: True
    params:
        program="record_provenance",
        config=settings("record_provenance"),
        code=code("record_provenance"),
        results=subpath(input.models, parent=True),


use rule compare as report with:
    input:
        dataset=dataset,
        models=TABLE_OF_MODELS,
        table=COMPARISON,
        provenance=rules.record_provenance.output.provenance,
        summary=SUMMARY,
        lists=[*LISTS.values()],
        predictions=PREDICTED,
        sparsity=SPARSITY[PRUNED],
        trainings=[f"{RESULTS}/{name}/{artifacts.TRAINING}" for name in TRAININGS],
        plots=rules.plot.output,
        weighed=(expand(rules.plot_sensitivity.output, algorithm=ALGORITHMS) if MEASURES else []),
    output:
        page=report(
            f"{RESULTS}/{artifacts.REPORT}",
            caption="../report/report.rst",
            category="Results",
            labels={"what": "page"},
        ),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{LOGS}/report.tsv"
    localrule: True
    params:
        program="report",
        config=settings("report"),
        code=code("report"),
        results=subpath(input.models, parent=True),


use rule compare as accept with:
    input:
        dataset=dataset,
        models=TABLE_OF_MODELS,
        table=COMPARISON,
        page=rules.report.output.page,  # the table and the page are there even if this fails
    output:
        accepted=f"{RESULTS}/{artifacts.ACCEPTED}",
    log:
        f"{LOGS}/accept.log",
    benchmark:
        f"{LOGS}/accept.tsv"
    localrule: True
    params:
        program="accept",
        config=settings("accept"),
        code=code("accept"),
        results=subpath(input.models, parent=True),


RELEASES = [
    name for kind in (DENSE, SPARSE) for name in of_kind(kind, models.of_first_seed(MODELS))
]


use rule compare as release with:
    input:
        dataset=dataset,
        models=TABLE_OF_MODELS,
        table=COMPARISON,
        summary=SUMMARY,
        exported=expand(
            [*EXPORTED.values(), *([CALIBRATION, QUANTIZED] if WITH_INT8 else [])],
            model=RELEASES,
        ),
        checks=[
            path.format(model=name)
            for name in RELEASES
            if PROMISES[name]
            for path in ([CHECKED, QUANTIZED_CHECKED] if WITH_INT8 else [CHECKED])
        ],
        sparsity=SPARSITY[PRUNED],
        builds=expand(path_of(artifacts.BUILT, "{case}"), model=RELEASES, case=CASE_NAMES),
        trainings=[f"{RESULTS}/{name}/{artifacts.TRAINING}" for name in RELEASES],
        provenance=rules.record_provenance.output.provenance,
    output:
        checksums=[
            f"{RESULTS}/{artifacts.RELEASED.format(model=name)}/{artifacts.CHECKSUMS}"
            for name in RELEASES
        ],
    log:
        f"{LOGS}/release.log",
    benchmark:
        f"{LOGS}/release.tsv"
    localrule: True
    params:
        program="release",
        config=settings("release"),
        code=code("release"),
        results=subpath(input.models, parent=True),
