# dense weights → 2:4 pruned weights and their masks


rule pruned:
    input:
        f"{RESULTS}/dense/model.pdparams",
    output:
        [f"{RESULTS}/pruned/{name}" for name in ("model.pdparams", "masks.npz", "sparsity.json")],
    log:
        f"{RESULTS}/logs/pruned.log",
    benchmark:
        f"{RESULTS}/logs/pruned.tsv"
    conda:
        "../../envs/cpu/environment.yaml"
    params:
        config=settings("prune"),
        code=stages.code("prune"),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'python "$SCRIPTS"/prune.py --config {params.config:q} --weights {input:q}'
        " --out {params.out:q} --log {log:q}"
