# accuracy of each deployed model, and speed of all of them side by side


rule evaluate:
    input:
        DATASET,
        f"{RESULTS}/deploy/{{model}}/{{backend}}-{{precision}}/build.json",
        weights=f"{RESULTS}/{{model}}/model.pdparams",
    output:
        f"{RESULTS}/evaluation/{{model}}/{{backend}}-{{precision}}.json",
    params:
        config=settings("evaluate"),
        code=lambda wildcards: stages.code("evaluate", f"deploy.{wildcards.backend}"),
        data=f"{RESULTS}/dataset",
        model=f"{RESULTS}/deploy/{{model}}",
        build=f"{RESULTS}/deploy/{{model}}/{{backend}}-{{precision}}",
    log:
        f"{RESULTS}/logs/evaluate.{{model}}.{{backend}}-{{precision}}.log",
    benchmark:
        f"{RESULTS}/logs/evaluate.{{model}}.{{backend}}-{{precision}}.tsv"
    threads: THREADS
    shell:
        "python {SCRIPTS:q}/evaluate.py --config {params.config:q} --data {params.data:q}"
        " --model {params.model:q} --build {params.build:q} --weights {input.weights:q}"
        " --out {output:q} --log {log:q}"


rule benchmark:
    input:
        DATASET,
        [f"{RESULTS}/deploy/{model}/{{backend}}-{{precision}}/build.json" for model in MODELS],
    output:
        [
            f"{RESULTS}/benchmark/{model}/{{backend}}-{{precision}}/bs{{batch_size}}.json"
            for model in MODELS
        ],
    params:
        config=settings("benchmark"),
        code=lambda wildcards: stages.code("benchmark", f"deploy.{wildcards.backend}"),
        data=f"{RESULTS}/dataset",
        models=[f"{RESULTS}/deploy/{model}" for model in MODELS],
        builds=[f"{RESULTS}/deploy/{model}/{{backend}}-{{precision}}" for model in MODELS],
    log:
        f"{RESULTS}/logs/benchmark.{{backend}}-{{precision}}.bs{{batch_size}}.log",
    benchmark:
        f"{RESULTS}/logs/benchmark.{{backend}}-{{precision}}.bs{{batch_size}}.tsv"
    threads: ALL_CORES
    shell:
        "python {SCRIPTS:q}/benchmark.py --config {params.config:q} --data {params.data:q}"
        " --model {params.models:q} --build {params.builds:q}"
        " --batch-size {wildcards.batch_size} --out {output:q} --log {log:q}"
