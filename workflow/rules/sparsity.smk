# dense weights → channels in a better order (if asked for) → 2:4 pruned weights and their masks


rule permute:
    input:
        dataset=dataset,
        dense=f"{RESULTS}/{SEED}{DENSE}/{artifacts.WEIGHTS}",
        training=f"{RESULTS}/{SEED}{DENSE}/{artifacts.TRAINING}",
    output:
        weights=f"{RESULTS}/{SEED}permuted/{artifacts.WEIGHTS}",
        permutation=f"{RESULTS}/{SEED}permuted/{artifacts.PERMUTATION}",
    log:
        f"{LOGS}/{SEED}permute.log",
    benchmark:
        f"{LOGS}/{SEED}permute.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=seeded("permute"),
        code=code("permute"),
        out=subpath(output.weights, parent=True),
    shell:
        'exec sh "$TWOFOUR" permute --config {params.config:q} --weights {input.dense:q}'
        " --training {input.training:q} --threads {threads} --out {params.out:q} --log {log:q}"


rule prune:
    input:
        dataset=dataset,
        dense=f"{RESULTS}/{SEED}{DENSE}/{artifacts.WEIGHTS}",
        training=f"{RESULTS}/{SEED}{DENSE}/{artifacts.TRAINING}",
        permuted=(
            f"{RESULTS}/{SEED}permuted/{artifacts.WEIGHTS}" if CONFIG.sparsity.permute else []
        ),
    output:
        weights=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.WEIGHTS}",
        masks=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.MASKS}",
        sparsity=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.SPARSITY}",
    log:
        f"{LOGS}/{SEED}prune{{algorithm}}.log",
    benchmark:
        f"{LOGS}/{SEED}prune{{algorithm}}.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("prune"),
        code=code("prune"),
        algorithm=lambda wildcards: ALGORITHMS[wildcards.algorithm],
        weights=lambda wildcards, input: (
            ["--weights", input.permuted, "--unpermuted", input.dense]
            if input.permuted
            else ["--weights", input.dense]
        ),
        out=subpath(output.weights, parent=True),
    shell:
        'exec sh "$TWOFOUR" prune --config {params.config:q} {params.weights:q}'
        " --training {input.training:q} --algorithm {params.algorithm} --out {params.out:q} --log {log:q}"
