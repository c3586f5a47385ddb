# weights → deployable files → what a backend makes of them

EXPORTED = {key: f"{RESULTS}/deploy/{{model}}/{name}" for key, name in artifacts.EXPORTED.items()}
BUILT = path_of(artifacts.BUILT)


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
        config=own("export"),
        code=code("export"),
        out=subpath(output.onnx, parent=True),
    shell:
        'exec sh "$TWOFOUR" export --config {params.config:q} --weights {input.weights:q}'
        " --classes {input.classes:q} --out {params.out:q} --log {log:q}"


rule calibrate:
    input:
        **DATASET,
        onnx=EXPORTED["onnx"],
        # What a twin has learnt in training stands.
        ranges=lambda wildcards: (
            f"{RESULTS}/{wildcards.model}/{artifacts.RANGES}" if wildcards.model in LEARNT else []
        ),
    output:
        calibration=CALIBRATION,
    log:
        f"{LOGS}/calibrate.{{model}}.log",
    benchmark:
        f"{LOGS}/calibrate.{{model}}.tsv"
    group:
        "files.{model}"
    conda:
        CPU_CONDA
    threads: cores()
    params:
        config=settings("calibrate"),
        code=code("calibrate"),
        data=lambda wildcards, input: data_of(input),
        model=subpath(input.onnx, parent=True),
        ranges=lambda wildcards, input: ["--ranges", input.ranges] if input.get("ranges") else [],
    shell:
        'exec sh "$TWOFOUR" calibrate --config {params.config:q} {params.data:q}'
        " --model {params.model:q} {params.ranges:q} --out {output.calibration:q} --log {log:q}"


rule quantize:
    input:
        dataset=dataset,
        onnx=EXPORTED["onnx"],
        calibration=CALIBRATION,
    output:
        onnx=QUANTIZED,
    log:
        f"{LOGS}/quantize.{{model}}.log",
    benchmark:
        f"{LOGS}/quantize.{{model}}.tsv"
    group:
        "files.{model}"
    conda:
        CPU_CONDA
    params:
        config=settings("quantize"),
        code=code("quantize"),
        model=subpath(input.onnx, parent=True),
    shell:
        'exec sh "$TWOFOUR" quantize --config {params.config:q} --model {params.model:q}'
        " --out {output.onnx:q} --log {log:q}"


# Proof from the files themselves: training, export or conversion might have overwritten zeros.
rule check:
    input:
        dataset=dataset,
        weights=f"{RESULTS}/{{model}}/{artifacts.WEIGHTS}",
        paddle=EXPORTED["paddle"],
        parameters=EXPORTED["parameters"],
        onnx=EXPORTED["onnx"],
        sparsity=lambda wildcards: promised(wildcards),
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
        files=lambda wildcards, input: [input.weights, input.paddle, input.onnx],
    shell:
        'exec sh "$TWOFOUR" check {params.files:q}'
        " --sparsity {input.sparsity:q} --out {output.check:q} --log {log:q}"


use rule check as check_int8 with:
    input:
        dataset=dataset,
        onnx=QUANTIZED,
        sparsity=lambda wildcards: promised(wildcards),
    output:
        check=QUANTIZED_CHECKED,
    log:
        f"{LOGS}/check_int8.{{model}}.log",
    benchmark:
        f"{LOGS}/check_int8.{{model}}.tsv"
    params:
        code=code("check"),
        files=lambda wildcards, input: [input.onnx],


rule build:
    input:
        **EXPORTED,
        dataset=dataset,
        check=lambda wildcards: CHECKED if PROMISES[wildcards.model] else [],
        quantized=lambda wildcards: [CALIBRATION, QUANTIZED] if is_int8(wildcards) else [],
        checked=lambda wildcards: (
            QUANTIZED_CHECKED if is_int8(wildcards) and PROMISES[wildcards.model] else []
        ),
        promise=lambda wildcards: promised(wildcards) if is_int8(wildcards) else [],
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
        like=lambda wildcards: like(wildcards),
        promise=lambda wildcards, input: (
            ["--sparsity", str(input.promise)] if input.promise else []
        ),
    shell:
        'exec sh "$TWOFOUR" --gpu build --config {params.config:q} --model {params.model:q}'
        " --backend {wildcards.backend} --precision {wildcards.precision} {params.promise:q}"
        " {params.like:q} --out {params.out:q} --log {log:q}"
