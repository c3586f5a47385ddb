# dense weights → channels in a better order (if asked for) → 2:4 pruned weights and their masks


rule permuted:
    input:
        dense=f"{RESULTS}/dense/model.pdparams",
        training=f"{RESULTS}/dense/train.json",
    output:
        [f"{RESULTS}/permuted/{name}" for name in ("model.pdparams", "permutation.json")],
    log:
        f"{RESULTS}/logs/permuted.log",
    benchmark:
        f"{RESULTS}/logs/permuted.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=settings("permute"),
        code=stages.code("permute"),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/permute.py --config {params.config:q} --weights {input.dense:q}'
        " --training {input.training:q} --threads {threads} --out {params.out:q} --log {log:q}"


rule pruned:
    input:
        dense=f"{RESULTS}/dense/model.pdparams",
        training=f"{RESULTS}/dense/train.json",
        permuted=branch(
            CONFIG["sparsity"]["permute"],
            then=f"{RESULTS}/permuted/model.pdparams",
            otherwise=[],
        ),
    output:
        [
            f"{RESULTS}/pruned{{branch}}/{name}"
            for name in ("model.pdparams", "masks.npz", "sparsity.json")
        ],
    log:
        f"{RESULTS}/logs/pruned{{branch}}.log",
    benchmark:
        f"{RESULTS}/logs/pruned{{branch}}.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("prune"),
        code=stages.code("prune"),
        algorithm=lambda wildcards: BRANCHES[wildcards.branch],
        weights=lambda wildcards, input: (
            ["--weights", input.permuted, "--unpermuted", input.dense]
            if input.permuted
            else ["--weights", input.dense]
        ),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/prune.py --config {params.config:q} {params.weights:q}'
        " --training {input.training:q} --algorithm {params.algorithm} --out {params.out:q} --log {log:q}"
