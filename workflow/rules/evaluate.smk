# accuracy of each deployed model, and speed of all of them side by side


rule evaluate:
    input:
        DATASET,
        build=f"{RESULTS}/deploy/{{model}}/{{backend}}-{{precision}}/build.json",
        weights=f"{RESULTS}/{{model}}/model.pdparams",
    output:
        f"{RESULTS}/evaluation/{{model}}/{{backend}}-{{precision}}.json",
    log:
        f"{RESULTS}/logs/evaluate.{{model}}.{{backend}}-{{precision}}.log",
    benchmark:
        f"{RESULTS}/logs/evaluate.{{model}}.{{backend}}-{{precision}}.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores()
    resources:
        gpu=gpus,
    params:
        config=settings("evaluate"),
        code=lambda wildcards: stages.code("evaluate", f"deploy.{wildcards.backend}"),
        data=lambda wildcards, input: dirname(input[0]),
        model=lambda wildcards, input: dirname(dirname(input.build)),
        build=lambda wildcards, input: dirname(input.build),
    shell:
        'on_gpu; exec python "$SCRIPTS"/evaluate.py --config {params.config:q} --data {params.data:q}'
        " --model {params.model:q} --build {params.build:q} --weights {input.weights:q}"
        " --out {output:q} --log {log:q}"


rule benchmark:
    input:
        DATASET,
        builds=[
            f"{RESULTS}/deploy/{model}/{{backend}}-{{precision}}/build.json" for model in MODELS
        ],
    output:
        [
            f"{RESULTS}/benchmark/{model}/{{backend}}-{{precision}}/bs{{batch_size}}.json"
            for model in MODELS
        ],
    log:
        f"{RESULTS}/logs/benchmark.{{backend}}-{{precision}}.bs{{batch_size}}.log",
    benchmark:
        f"{RESULTS}/logs/benchmark.{{backend}}-{{precision}}.bs{{batch_size}}.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(every=True)
    resources:
        gpu=gpus,
    params:
        config=settings("benchmark"),
        code=lambda wildcards: stages.code("benchmark", f"deploy.{wildcards.backend}"),
        data=lambda wildcards, input: dirname(input[0]),
        models=lambda wildcards, input: [dirname(dirname(build)) for build in input.builds],
        builds=lambda wildcards, input: [dirname(build) for build in input.builds],
    shell:
        'on_gpu; exec python "$SCRIPTS"/benchmark.py --config {params.config:q} --data {params.data:q}'
        " --model {params.models:q} --build {params.builds:q}"
        " --batch-size {wildcards.batch_size} --out {output:q} --log {log:q}"
