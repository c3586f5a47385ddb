# dense weights → 2:4 pruned weights and their masks


rule pruned:
    input:
        f"{RESULTS}/dense/model.pdparams",
    output:
        [f"{RESULTS}/pruned/{name}" for name in ("model.pdparams", "masks.npz", "sparsity.json")],
    params:
        config=settings("prune"),
        code=stages.code("prune"),
        out=f"{RESULTS}/pruned",
    log:
        f"{RESULTS}/logs/pruned.log",
    benchmark:
        f"{RESULTS}/logs/pruned.tsv"
    shell:
        "python {SCRIPTS:q}/prune.py --config {params.config:q} --weights {input:q}"
        " --out {params.out:q} --log {log:q}"
