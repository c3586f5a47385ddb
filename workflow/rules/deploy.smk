# weights → deployable files → what a backend makes of them

EXPORTED = {key: f"{RESULTS}/deploy/{{model}}/{name}" for key, name in artifacts.EXPORTED.items()}
CHECKED = f"{RESULTS}/deploy/{{model}}/{artifacts.CHECK}"
BUILT = path_of(artifacts.BUILT)
# Whose sparsity.json says which layers of a model must be sparse; None for a dense one.
PROMISES = {model.name: model.promise for model in MODELS}


rule export:
    input:
        weights=f"{RESULTS}/{{model}}/{artifacts.WEIGHTS}",
        classes=LISTS["classes"],
        dataset=dataset,
    output:
        **EXPORTED,
    log:
        f"{LOGS}/export.{{model}}.log",
    benchmark:
        f"{LOGS}/export.{{model}}.tsv"
    group:
        "files.{model}"
    conda:
        CPU_CONDA
    params:
        config=settings("export"),
        code=code("export"),
        out=subpath(output.onnx, parent=True),
    shell:
        'exec sh "$TWOFOUR" export --config {params.config:q} --weights {input.weights:q}'
        " --classes {input.classes:q} --out {params.out:q} --log {log:q}"


# Proof from the files themselves: training, export or conversion might have overwritten zeros.
rule check:
    input:
        dataset=dataset,
        weights=f"{RESULTS}/{{model}}/{artifacts.WEIGHTS}",
        paddle=EXPORTED["paddle"],
        parameters=EXPORTED["parameters"],
        onnx=EXPORTED["onnx"],
        sparsity=lambda wildcards: (f"{RESULTS}/{PROMISES[wildcards.model]}/{artifacts.SPARSITY}"),
    output:
        check=CHECKED,
    log:
        f"{LOGS}/check.{{model}}.log",
    benchmark:
        f"{LOGS}/check.{{model}}.tsv"
    group:
        "files.{model}"
    conda:
        CPU_CONDA
    params:
        code=code("check"),
    shell:
        'exec sh "$TWOFOUR" check {input.weights:q} {input.paddle:q} {input.onnx:q}'
        " --sparsity {input.sparsity:q} --out {output.check:q} --log {log:q}"


rule build:
    input:
        **EXPORTED,
        dataset=dataset,
        check=lambda wildcards: CHECKED if PROMISES[wildcards.model] else [],
    output:
        build=BUILT,
    log:
        f"{LOGS}/build.{{model}}.{{backend}}-{{precision}}.log",
    benchmark:
        f"{LOGS}/build.{{model}}.{{backend}}-{{precision}}.tsv"
    # On a cluster, builds that take seconds run in the job that exports the model.
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
        # Only some backends are built for particular batch sizes, and rebuilt when these change.
        config=lambda wildcards: settings(
            "build_for_batches" if backends.about(wildcards.backend).for_batches else "build"
        )(wildcards),
        code=backend_code("build"),
        model=subpath(input.onnx, parent=True),
        out=subpath(output.build, parent=True),
    shell:
        'exec sh "$TWOFOUR" --gpu build --config {params.config:q} --model {params.model:q}'
        " --backend {wildcards.backend} --precision {wildcards.precision}"
        " --out {params.out:q} --log {log:q}"
