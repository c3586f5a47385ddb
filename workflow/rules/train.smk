# Both trainings: one section of the configuration, one program, so that they cannot drift apart.
# Their checkpoints lie in <out>/checkpoints, which is no output: Snakemake must not delete it.

DATASET = [f"{RESULTS}/dataset/{name}" for name in ("train.txt", "val.txt", "classes.txt", "dataset.json")]
TRAINED = ("model.pdparams", "metrics.csv", "train.json")


rule dense:
    input:
        DATASET,
    output:
        [f"{RESULTS}/dense/{name}" for name in TRAINED],
    params:
        config=settings("train"),
        code=stages.code("train"),
        data=f"{RESULTS}/dataset",
        out=f"{RESULTS}/dense",
    log:
        f"{RESULTS}/logs/dense.log",
    benchmark:
        f"{RESULTS}/logs/dense.tsv"
    threads: THREADS
    shell:
        "python {SCRIPTS:q}/train.py --config {params.config:q} --data {params.data:q}"
        " --out {params.out:q} --log {log:q}"


rule sparse:
    input:
        DATASET,
        f"{RESULTS}/pruned/model.pdparams",
        f"{RESULTS}/pruned/masks.npz",
    output:
        [f"{RESULTS}/sparse/{name}" for name in (*TRAINED, "sparsity.json")],
    params:
        config=settings("train"),
        code=stages.code("train"),
        data=f"{RESULTS}/dataset",
        start=f"{RESULTS}/pruned",
        out=f"{RESULTS}/sparse",
    log:
        f"{RESULTS}/logs/sparse.log",
    benchmark:
        f"{RESULTS}/logs/sparse.tsv"
    threads: THREADS
    shell:
        "python {SCRIPTS:q}/train.py --config {params.config:q} --data {params.data:q}"
        " --start {params.start:q} --out {params.out:q} --log {log:q}"
