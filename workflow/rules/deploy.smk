# weights → deployable files → what a backend makes of them

EXPORTED = ("model.pdmodel", "model.pdiparams", "model.onnx", "model.json", "classes.txt")


rule export:
    input:
        weights=f"{RESULTS}/{{model}}/model.pdparams",
        classes=f"{RESULTS}/dataset/classes.txt",
    output:
        [f"{RESULTS}/deploy/{{model}}/{name}" for name in EXPORTED],
    log:
        f"{RESULTS}/logs/export.{{model}}.log",
    benchmark:
        f"{RESULTS}/logs/export.{{model}}.tsv"
    group:
        "files.{model}"
    conda:
        CPU_CONDA
    params:
        config=settings("export"),
        code=stages.code("export"),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/export.py --config {params.config:q} --weights {input.weights:q}'
        " --classes {input.classes:q} --out {params.out:q} --log {log:q}"


# Proof from the files themselves: training, export or conversion might have filled zeros.
rule checked:
    input:
        weights=f"{RESULTS}/{{model}}/model.pdparams",
        paddle=f"{RESULTS}/deploy/{{model}}/model.pdmodel",
        parameters=f"{RESULTS}/deploy/{{model}}/model.pdiparams",
        onnx=f"{RESULTS}/deploy/{{model}}/model.onnx",
        sparsity=lambda wildcards: (
            f"{RESULTS}/{PRUNED}{names.branch(wildcards.model)}/sparsity.json"
        ),
    output:
        f"{RESULTS}/deploy/{{model}}/check.json",
    log:
        f"{RESULTS}/logs/checked.{{model}}.log",
    benchmark:
        f"{RESULTS}/logs/checked.{{model}}.tsv"
    group:
        "files.{model}"
    conda:
        CPU_CONDA
    params:
        code=stages.code("check_sparsity"),
    shell:
        'exec python "$SCRIPTS"/check_sparsity.py {input.weights:q} {input.paddle:q} {input.onnx:q}'
        " --sparsity {input.sparsity:q} --out {output:q} --log {log:q}"


rule build:
    input:
        [f"{RESULTS}/deploy/{{model}}/{name}" for name in EXPORTED],
        branch(
            lambda wildcards: wildcards.model == DENSE,
            then=[],
            otherwise=f"{RESULTS}/deploy/{{model}}/check.json",
        ),
    output:
        f"{RESULTS}/deploy/{{model}}/{{backend}}-{{precision}}/build.json",
    log:
        f"{RESULTS}/logs/build.{{model}}.{{backend}}-{{precision}}.log",
    benchmark:
        f"{RESULTS}/logs/build.{{model}}.{{backend}}-{{precision}}.tsv"
    # On a cluster, what takes seconds is done in the job that exports the model.
    group:
        lambda wildcards: (
            "build.{model}.{backend}-{precision}".format(**wildcards)
            if gpus(wildcards)
            else f"files.{wildcards.model}"
        )
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores()
    resources:
        gpu=gpus,
    params:
        # Only some backends are built for certain batch sizes, and rebuilt for others.
        config=lambda wildcards: settings(
            "build_for_batches" if deploy.for_batches(wildcards.backend) else "build"
        )(wildcards),
        code=lambda wildcards: stages.code("build", f"deploy.{wildcards.backend}"),
        model=lambda wildcards, input: dirname(input[0]),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'on_gpu; exec python "$SCRIPTS"/build.py --config {params.config:q} --model {params.model:q}'
        " --backend {wildcards.backend} --precision {wildcards.precision}"
        " --out {params.out:q} --log {log:q}"
