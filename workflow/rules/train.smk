# Both trainings: one section of the configuration, one program, so that they cannot drift apart.
# Their checkpoints are in <out>/checkpoints, which is not an output: Snakemake must not delete it.


rule train_dense:
    input:
        **DATASET,
        start=CONFIG.train.init or [],
    output:
        weights=f"{RESULTS}/{DENSE}/{artifacts.WEIGHTS}",
        metrics=f"{RESULTS}/{DENSE}/{artifacts.METRICS}",
        summary=f"{RESULTS}/{DENSE}/{artifacts.TRAINING}",
        seen=f"{RESULTS}/{DENSE}/{artifacts.SEEN}",
    log:
        f"{LOGS}/train_dense.log",
    benchmark:
        f"{LOGS}/train_dense.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(PROCESSES)
    resources:
        **TRAINING,
    params:
        config=settings("train"),
        code=code("train"),
        data=subpath(input.train, parent=True),
        start=[],  # a dense training has no pruned network to start from
        option="",
        out=subpath(output.weights, parent=True),
    shell:
        'exec sh "$TWOFOUR" --gpu train --config {params.config:q} --data {params.data:q}'
        " --out {params.out:q} {params.option} {params.start:q} --log {log:q}"


use rule train_dense as train_sparse with:
    input:
        **DATASET,
        start=f"{RESULTS}/{PRUNED}{{algorithm}}/{artifacts.WEIGHTS}",
        masks=f"{RESULTS}/{PRUNED}{{algorithm}}/{artifacts.MASKS}",
        sparsity=f"{RESULTS}/{PRUNED}{{algorithm}}/{artifacts.SPARSITY}",
    output:
        weights=f"{RESULTS}/{SPARSE}{{algorithm}}/{artifacts.WEIGHTS}",
        metrics=f"{RESULTS}/{SPARSE}{{algorithm}}/{artifacts.METRICS}",
        summary=f"{RESULTS}/{SPARSE}{{algorithm}}/{artifacts.TRAINING}",
        seen=f"{RESULTS}/{SPARSE}{{algorithm}}/{artifacts.SEEN}",
        sparsity=f"{RESULTS}/{SPARSE}{{algorithm}}/{artifacts.SPARSITY}",
    log:
        f"{LOGS}/train_sparse{{algorithm}}.log",
    benchmark:
        f"{LOGS}/train_sparse{{algorithm}}.tsv"
    params:
        config=settings("train"),
        code=code("train"),
        data=subpath(input.train, parent=True),
        start=subpath(input.start, parent=True),
        option="--start",
        out=subpath(output.weights, parent=True),
