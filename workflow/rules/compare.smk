# everything measured → the table, the pictures, the page

PICTURES = ("training", "models", "layers")


rule comparison:
    input:
        expand(f"{RESULTS}/evaluation/{{model}}/{{backend}}.json", model=MODELS, backend=BACKENDS),
        expand(
            f"{RESULTS}/benchmark/{{model}}/{{backend}}/bs{{batch_size}}.json",
            model=MODELS,
            backend=BACKENDS,
            batch_size=CONFIG["benchmark"]["batch_sizes"],
        ),
        [f"{RESULTS}/{model}/model.pdparams" for model in MODELS],
        [f"{RESULTS}/pruned{branch}/sparsity.json" for branch in BRANCHES],
    output:
        f"{RESULTS}/comparison.csv",
        f"{RESULTS}/comparison.md",
    log:
        f"{RESULTS}/logs/comparison.log",
    benchmark:
        f"{RESULTS}/logs/comparison.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("compare"),
        code=stages.code("compare"),
        results=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/compare.py --config {params.config:q} --results {params.results:q}'
        " --log {log:q}"


rule plots:
    input:
        f"{RESULTS}/comparison.csv",
        f"{RESULTS}/dense/metrics.csv",
        [f"{RESULTS}/sparse{branch}/metrics.csv" for branch in BRANCHES],
        [f"{RESULTS}/{kind}{b}/sparsity.json" for b in BRANCHES for kind in (PRUNED, SPARSE)],
        expand(f"{RESULTS}/deploy/{{model}}/{{backend}}/build.json", model=MODELS, backend=BACKENDS),
    output:
        [f"{RESULTS}/plots/{name}.svg" for name in PICTURES],
    log:
        f"{RESULTS}/logs/plots.log",
    benchmark:
        f"{RESULTS}/logs/plots.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("plot"),
        code=stages.code("plot"),
        results=lambda wildcards, input: dirname(input[0]),
    shell:
        'exec python "$SCRIPTS"/plot.py --config {params.config:q} --results {params.results:q}'
        " --log {log:q}"


rule provenance:
    input:
        f"{RESULTS}/comparison.csv",
        f"{RESULTS}/plots/training.svg",
    output:
        f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/provenance.log",
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("provenance"),
        code=stages.code("provenance"),
        results=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/provenance.py --config {params.config:q} --results {params.results:q}'
        " --log {log:q}"


rule report:
    input:
        f"{RESULTS}/comparison.csv",
        f"{RESULTS}/provenance.json",
        f"{RESULTS}/dataset/dataset.json",
        f"{RESULTS}/dense/train.json",
        [f"{RESULTS}/sparse{branch}/train.json" for branch in BRANCHES],
        [f"{RESULTS}/plots/{name}.svg" for name in PICTURES],
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("report"),
        code=stages.code("report"),
        results=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/report.py --config {params.config:q} --results {params.results:q}'
        " --log {log:q}"


rule accept:
    input:
        f"{RESULTS}/comparison.csv",
        f"{RESULTS}/report.html",  # the table and the page are there even if this fails
    output:
        f"{RESULTS}/accept.json",
    log:
        f"{RESULTS}/logs/accept.log",
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("accept"),
        code=stages.code("accept"),
        results=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/accept.py --config {params.config:q} --results {params.results:q}'
        " --log {log:q}"
