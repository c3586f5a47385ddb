# Both trainings: one section of the configuration, one program, so that they cannot drift apart.
# Their checkpoints are in <out>/checkpoints, which is not an output: Snakemake must not delete it.

DENSE_NETWORK = {
    "weights": f"{RESULTS}/{SEED}{DENSE}/{artifacts.WEIGHTS}",
    "summary": f"{RESULTS}/{SEED}{DENSE}/{artifacts.TRAINING}",
    "seen": f"{RESULTS}/{SEED}{DENSE}/{artifacts.SEEN}",
}


rule train_sparse:
    input:
        **DATASET,
        start=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.WEIGHTS}",
        masks=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.MASKS}",
        sparsity=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.SPARSITY}",
        teacher=DENSE_NETWORK["weights"] if CONFIG.train.distill else [],
    output:
        weights=f"{RESULTS}/{SEED}{SPARSE}{{algorithm}}/{artifacts.WEIGHTS}",
        metrics=f"{RESULTS}/{SEED}{SPARSE}{{algorithm}}/{artifacts.METRICS}",
        summary=f"{RESULTS}/{SEED}{SPARSE}{{algorithm}}/{artifacts.TRAINING}",
        seen=f"{RESULTS}/{SEED}{SPARSE}{{algorithm}}/{artifacts.SEEN}",
        sparsity=f"{RESULTS}/{SEED}{SPARSE}{{algorithm}}/{artifacts.SPARSITY}",
    log:
        f"{LOGS}/{SEED}train_sparse{{algorithm}}.log",
    benchmark:
        f"{LOGS}/{SEED}train_sparse{{algorithm}}.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(PROCESSES)
    resources:
        **TRAINING,
    params:
        config=seeded("train_sparse"),
        code=code("train"),
        data=subpath(input.train, parent=True),
        start=subpath(input.start, parent=True),
        option="--start",
        also=lambda wildcards, input: ["--teacher", input.teacher] if input.teacher else [],
        out=subpath(output.weights, parent=True),
    shell:
        'exec sh "$TWOFOUR" --gpu train --config {params.config:q} --data {params.data:q}'
        " --out {params.out:q} {params.option} {params.start:q} {params.also:q} --log {log:q}"


if CONFIG.dense.weights is None:

    use rule train_sparse as train_dense with:
        input:
            **DATASET,
            start=CONFIG.train.init or [],
        output:
            **DENSE_NETWORK,
            metrics=f"{RESULTS}/{SEED}{DENSE}/{artifacts.METRICS}",
        log:
            f"{LOGS}/{SEED}train_dense.log",
        benchmark:
            f"{LOGS}/{SEED}train_dense.tsv"
        params:
            config=seeded("train"),
            code=code("train"),
            data=subpath(input.train, parent=True),
            start=[],  # a dense training has no pruned network to start from
            option="",
            also=[],
            out=subpath(output.weights, parent=True),

else:

    rule import_dense:
        input:
            **DATASET,
            file=CONFIG.dense.weights,
            beside=[
                path
                for name in (artifacts.CLASSES, artifacts.SEEN)
                if (path := Path(CONFIG.dense.weights).parent / name).is_file()
            ],
        output:
            **DENSE_NETWORK,
        log:
            f"{LOGS}/{SEED}import_dense.log",
        benchmark:
            f"{LOGS}/{SEED}import_dense.tsv"
        conda:
            COMPUTE_CONDA
        container:
            COMPUTE_CONTAINER
        threads: cores()
        resources:
            gpu=int(ON_GPU),
        params:
            config=settings("import_dense"),
            code=code("import_dense"),
            data=subpath(input.train, parent=True),
            out=subpath(output.weights, parent=True),
        shell:
            'exec sh "$TWOFOUR" --gpu import_dense {input.file:q} --config {params.config:q}'
            " --data {params.data:q} --out {params.out:q} --log {log:q}"


if CONFIG.dense.control:

    # The sparse network trains for twice as many epochs as the dense one; this one does, too.
    use rule train_sparse as train_control with:
        input:
            **DATASET,
            start=DENSE_NETWORK["weights"],
        output:
            weights=f"{RESULTS}/{SEED}{models.MORE}/{artifacts.WEIGHTS}",
            metrics=f"{RESULTS}/{SEED}{models.MORE}/{artifacts.METRICS}",
            summary=f"{RESULTS}/{SEED}{models.MORE}/{artifacts.TRAINING}",
            seen=f"{RESULTS}/{SEED}{models.MORE}/{artifacts.SEEN}",
        log:
            f"{LOGS}/{SEED}train_control.log",
        benchmark:
            f"{LOGS}/{SEED}train_control.tsv"
        params:
            config=seeded("train"),
            code=code("train"),
            data=subpath(input.train, parent=True),
            start=lambda wildcards, input: input.start,
            option="--more",
            also=[],
            out=subpath(output.weights, parent=True),


if RIVALS:

    use rule train_sparse as train_rival with:
        input:
            **DATASET,
        output:
            weights=f"{RESULTS}/{SEED}{models.RIVAL}/{{rival}}/{artifacts.WEIGHTS}",
            metrics=f"{RESULTS}/{SEED}{models.RIVAL}/{{rival}}/{artifacts.METRICS}",
            summary=f"{RESULTS}/{SEED}{models.RIVAL}/{{rival}}/{artifacts.TRAINING}",
            seen=f"{RESULTS}/{SEED}{models.RIVAL}/{{rival}}/{artifacts.SEEN}",
        log:
            f"{LOGS}/{SEED}train_rival.{{rival}}.log",
        benchmark:
            f"{LOGS}/{SEED}train_rival.{{rival}}.tsv"
        params:
            config=seeded_rival("train"),
            code=code("train"),
            data=subpath(input.train, parent=True),
            start=[],
            option="",
            also=[],
            out=subpath(output.weights, parent=True),


if LEARNT:

    # Twins of the dense and the sparse networks, which learn to be rounded.
    use rule train_sparse as train_qat_dense with:
        input:
            **DATASET,
            start=DENSE_NETWORK["weights"],
            calibration=CALIBRATION.format(model=f"{SEED}{DENSE}"),
        output:
            weights=f"{RESULTS}/{SEED}{DENSE}{models.LEARNT}/{artifacts.WEIGHTS}",
            metrics=f"{RESULTS}/{SEED}{DENSE}{models.LEARNT}/{artifacts.METRICS}",
            summary=f"{RESULTS}/{SEED}{DENSE}{models.LEARNT}/{artifacts.TRAINING}",
            seen=f"{RESULTS}/{SEED}{DENSE}{models.LEARNT}/{artifacts.SEEN}",
            ranges=f"{RESULTS}/{SEED}{DENSE}{models.LEARNT}/{artifacts.RANGES}",
        log:
            f"{LOGS}/{SEED}train_qat_dense.log",
        benchmark:
            f"{LOGS}/{SEED}train_qat_dense.tsv"
        params:
            config=seeded("train_qat"),
            code=code("train"),
            data=subpath(input.train, parent=True),
            start=lambda wildcards, input: input.start,
            option="--more",
            also=lambda wildcards, input: ["--calibration", input.calibration],
            out=subpath(output.weights, parent=True),

    use rule train_qat_dense as train_qat_sparse with:
        input:
            **DATASET,
            start=rules.train_sparse.output.weights,
            masks=rules.train_sparse.input.masks,
            calibration=CALIBRATION.format(model=f"{SEED}{SPARSE}{{algorithm}}"),
        output:
            weights=f"{RESULTS}/{SEED}{SPARSE}{models.LEARNT}{{algorithm}}/{artifacts.WEIGHTS}",
            metrics=f"{RESULTS}/{SEED}{SPARSE}{models.LEARNT}{{algorithm}}/{artifacts.METRICS}",
            summary=f"{RESULTS}/{SEED}{SPARSE}{models.LEARNT}{{algorithm}}/{artifacts.TRAINING}",
            seen=f"{RESULTS}/{SEED}{SPARSE}{models.LEARNT}{{algorithm}}/{artifacts.SEEN}",
            ranges=f"{RESULTS}/{SEED}{SPARSE}{models.LEARNT}{{algorithm}}/{artifacts.RANGES}",
        log:
            f"{LOGS}/{SEED}train_qat_sparse{{algorithm}}.log",
        benchmark:
            f"{LOGS}/{SEED}train_qat_sparse{{algorithm}}.tsv"
        params:
            config=seeded("train_qat"),
            code=code("train"),
            data=subpath(input.train, parent=True),
            start=lambda wildcards, input: input.start,
            option="--more",
            also=lambda wildcards, input: [
                *("--calibration", input.calibration, "--masks", input.masks)
            ],
            out=subpath(output.weights, parent=True),
