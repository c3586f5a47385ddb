# Both trainings: one section of the configuration, one program, so that they cannot drift apart.
# Their checkpoints lie in <out>/checkpoints, which is no output: Snakemake must not delete it.

DATASET = [
    f"{RESULTS}/dataset/{name}" for name in ("train.txt", "val.txt", "classes.txt", "dataset.json")
]
TRAINED = ("model.pdparams", "metrics.csv", "train.json")


rule dense:
    input:
        DATASET,
        CONFIG["train"]["init"] or [],
    output:
        [f"{RESULTS}/dense/{name}" for name in TRAINED],
    log:
        f"{RESULTS}/logs/dense.log",
    benchmark:
        f"{RESULTS}/logs/dense.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(PROCESSES)
    resources:
        **TRAINING,
    params:
        config=settings("train"),
        code=stages.code("train"),
        data=lambda wildcards, input: dirname(input[0]),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'on_gpu; exec python "$SCRIPTS"/train.py --config {params.config:q} --data {params.data:q}'
        " --out {params.out:q} --log {log:q}"


rule sparse:
    input:
        DATASET,
        f"{RESULTS}/pruned{{branch}}/model.pdparams",
        f"{RESULTS}/pruned{{branch}}/masks.npz",
        f"{RESULTS}/pruned{{branch}}/sparsity.json",
    output:
        [f"{RESULTS}/sparse{{branch}}/{name}" for name in (*TRAINED, "sparsity.json")],
    log:
        f"{RESULTS}/logs/sparse{{branch}}.log",
    benchmark:
        f"{RESULTS}/logs/sparse{{branch}}.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(PROCESSES)
    resources:
        **TRAINING,
    params:
        config=settings("train"),
        code=stages.code("train"),
        data=lambda wildcards, input: dirname(input[0]),
        start=lambda wildcards, input: dirname(input[-1]),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'on_gpu; exec python "$SCRIPTS"/train.py --config {params.config:q} --data {params.data:q}'
        " --start {params.start:q} --out {params.out:q} --log {log:q}"
