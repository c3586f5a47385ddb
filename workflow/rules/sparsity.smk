# dense weights → channels in a better order (if asked for) → 2:4 pruned weights and their masks


rule permuted:
    input:
        f"{RESULTS}/dense/model.pdparams",
    output:
        [f"{RESULTS}/permuted/{name}" for name in ("model.pdparams", "permutation.json")],
    log:
        f"{RESULTS}/logs/permuted.log",
    benchmark:
        f"{RESULTS}/logs/permuted.tsv"
    conda:
        "../../envs/cpu/environment.yaml"
    threads: ALL_CORES
    params:
        config=settings("permute"),
        code=stages.code("permute"),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'python "$SCRIPTS"/permute.py --config {params.config:q} --weights {input:q}'
        " --threads {threads} --out {params.out:q} --log {log:q}"


rule pruned:
    input:
        dense=f"{RESULTS}/dense/model.pdparams",
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
    conda:
        "../../envs/cpu/environment.yaml"
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
        'python "$SCRIPTS"/prune.py --config {params.config:q} {params.weights:q}'
        " --algorithm {params.algorithm} --out {params.out:q} --log {log:q}"
