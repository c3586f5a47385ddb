# weights → deployable files → what a backend makes of them

EXPORTED = ("model.pdmodel", "model.pdiparams", "model.onnx", "model.json", "classes.txt")


rule export:
    input:
        weights=f"{RESULTS}/{{model}}/model.pdparams",
        classes=f"{RESULTS}/dataset/classes.txt",
        masks=branch(
            lambda wildcards: wildcards.model == DENSE,
            then=[],
            otherwise=f"{RESULTS}/pruned/masks.npz",
        ),
    output:
        [f"{RESULTS}/deploy/{{model}}/{name}" for name in EXPORTED],
    log:
        f"{RESULTS}/logs/export.{{model}}.log",
    benchmark:
        f"{RESULTS}/logs/export.{{model}}.tsv"
    conda:
        "../../envs/cpu/environment.yaml"
    params:
        config=settings("export"),
        code=stages.code("export"),
        masks=lambda wildcards, input: ["--masks", input.masks] if input.masks else [],
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'python "$SCRIPTS"/export.py --config {params.config:q} --weights {input.weights:q}'
        " --classes {input.classes:q} {params.masks:q} --out {params.out:q} --log {log:q}"


rule build:
    input:
        [f"{RESULTS}/deploy/{{model}}/{name}" for name in EXPORTED],
    output:
        f"{RESULTS}/deploy/{{model}}/{{backend}}-{{precision}}/build.json",
    log:
        f"{RESULTS}/logs/build.{{model}}.{{backend}}-{{precision}}.log",
    benchmark:
        f"{RESULTS}/logs/build.{{model}}.{{backend}}-{{precision}}.tsv"
    conda:
        "../../envs/cpu/environment.yaml"
    threads: THREADS
    params:
        config=settings("build"),
        code=lambda wildcards: stages.code("build", f"deploy.{wildcards.backend}"),
        model=lambda wildcards, input: dirname(input[0]),
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'python "$SCRIPTS"/build.py --config {params.config:q} --model {params.model:q}'
        " --backend {wildcards.backend} --precision {wildcards.precision}"
        " --out {params.out:q} --log {log:q}"
