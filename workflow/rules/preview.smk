# What sparsity, int8 and rivals will buy on this machine, before any training, and without images.

PREVIEW_EXPORTED = {
    key: f"{PREVIEW}/deploy/{{model}}/{name}" for key, name in artifacts.EXPORTED.items()
}
PREVIEW_CALIBRATION = f"{PREVIEW}/deploy/{{model}}/{artifacts.CALIBRATION}"
PREVIEW_QUANTIZED = f"{PREVIEW}/deploy/{{model}}/{artifacts.QUANTIZED}"
PREVIEW_BUILT = path_of(artifacts.BUILT, root=PREVIEW)
PREVIEW_SPEED = path_of(artifacts.SPEED, root=PREVIEW)
PREVIEW_SPEEDS = [
    path
    for backend, precision in CASES
    for path in expand(
        path_of(artifacts.SPEED, f"{backend}-{precision}", PREVIEW),
        model=PREVIEWED,
    )
]


rule preview_weights:
    output:
        dense=f"{PREVIEW}/{PREVIEWED[0]}/{artifacts.WEIGHTS}",
        pruned=f"{PREVIEW}/{PREVIEWED[-1]}/{artifacts.WEIGHTS}",
        sparsity=f"{PREVIEW}/{PREVIEWED[-1]}/{artifacts.SPARSITY}",
        classes=f"{PREVIEW}/{artifacts.CLASSES}",
    log:
        f"{LOGS}/preview_weights.log",
    benchmark:
        f"{LOGS}/preview_weights.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("preview_weights"),
        code=code("preview_weights"),
        names=["--dense", PREVIEWED[0], "--pruned", PREVIEWED[-1]],
        out=subpath(output.classes, parent=True),
    shell:
        'exec sh "$TWOFOUR" preview_weights --config {params.config:q} {params.names:q}'
        " --out {params.out:q} --log {log:q}"


if RIVALS:

    use rule preview_weights as preview_rival with:
        output:
            weights=f"{PREVIEW}/{models.RIVAL}/{{rival}}/{artifacts.WEIGHTS}",
        log:
            f"{LOGS}/preview_rival.{{rival}}.log",
        benchmark:
            f"{LOGS}/preview_rival.{{rival}}.tsv"
        params:
            config=lambda wildcards: stages.settings("preview_weights", RIVALS[wildcards.rival]),
            code=code("preview_weights"),
            names=lambda wildcards: ["--dense", f"{models.RIVAL}/{wildcards.rival}"],
            out=subpath(output.weights, ancestor=3),


use rule export as preview_export with:
    input:
        weights=f"{PREVIEW}/{{model}}/{artifacts.WEIGHTS}",
        classes=rules.preview_weights.output.classes,
    output:
        **PREVIEW_EXPORTED,
    log:
        f"{LOGS}/preview_export.{{model}}.log",
    benchmark:
        f"{LOGS}/preview_export.{{model}}.tsv"
    group:
        "preview.{model}"


use rule calibrate as preview_calibrate with:
    input:
        onnx=PREVIEW_EXPORTED["onnx"],
    output:
        calibration=PREVIEW_CALIBRATION,
    log:
        f"{LOGS}/preview_calibrate.{{model}}.log",
    benchmark:
        f"{LOGS}/preview_calibrate.{{model}}.tsv"
    group:
        "preview.{model}"


use rule quantize as preview_quantize with:
    input:
        onnx=PREVIEW_EXPORTED["onnx"],
        calibration=PREVIEW_CALIBRATION,
    output:
        onnx=PREVIEW_QUANTIZED,
    log:
        f"{LOGS}/preview_quantize.{{model}}.log",
    benchmark:
        f"{LOGS}/preview_quantize.{{model}}.tsv"
    group:
        "preview.{model}"


use rule build as preview_build with:
    input:
        **PREVIEW_EXPORTED,
        quantized=lambda wildcards: (
            [PREVIEW_CALIBRATION, PREVIEW_QUANTIZED] if is_int8(wildcards) else []
        ),
    output:
        build=PREVIEW_BUILT,
    log:
        f"{LOGS}/preview_build.{{model}}.{{backend}}-{{precision}}.log",
    benchmark:
        f"{LOGS}/preview_build.{{model}}.{{backend}}-{{precision}}.tsv"
    group:
        lambda wildcards: (
            "preview.{model}.{backend}-{precision}".format(**wildcards)
            if gpus(wildcards)
            else f"preview.{wildcards.model}"
        )
    params:
        config=lambda wildcards: settings(
            "build_for_batches" if backends.about(wildcards.backend).for_batches else "build"
        )(wildcards),
        code=backend_code("build"),
        model=subpath(input.onnx, parent=True),
        out=subpath(output.build, parent=True),
        like=[],
        promise=[],


use rule benchmark as preview_benchmark with:
    input:
        builds=expand(PREVIEW_BUILT, model=PREVIEWED, allow_missing=True),
        floating=lambda wildcards: floating(wildcards, PREVIEW),
    output:
        speeds=expand(PREVIEW_SPEED, model=PREVIEWED, allow_missing=True),
    log:
        f"{LOGS}/preview_benchmark.{{backend}}-{{precision}}.log",
    benchmark:
        f"{LOGS}/preview_benchmark.{{backend}}-{{precision}}.tsv"
    wildcard_constraints:
        precision="|".join({precision for _, precision in CASES}),


rule measure_training:
    output:
        cost=f"{PREVIEW}/{artifacts.TRAINING_COST}",
    log:
        f"{LOGS}/measure_training.log",
    benchmark:
        f"{LOGS}/measure_training.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(every=True)
    resources:
        gpu=int(ON_GPU),
    params:
        config=settings("measure_training"),
        code=code("measure_training"),
    shell:
        'exec sh "$TWOFOUR" --gpu measure_training --config {params.config:q}'
        " --out {output.cost:q} --log {log:q}"


rule summarize_preview:
    input:
        models=TABLE_OF_MODELS,
        speeds=PREVIEW_SPEEDS,
        builds=expand(path_of(artifacts.BUILT, "{case}", PREVIEW), model=PREVIEWED, case=CASE_NAMES),
        sparsity=rules.preview_weights.output.sparsity,
        cost=rules.measure_training.output.cost,
    output:
        text=f"{PREVIEW}/{artifacts.PREVIEW_TEXT}",
        page=f"{PREVIEW}/{artifacts.PREVIEW_PAGE}",
        table=f"{PREVIEW}/{artifacts.PREVIEW_TABLE}",
        verdict=f"{PREVIEW}/{artifacts.PREVIEW_VERDICT}",
    log:
        f"{LOGS}/summarize_preview.log",
    benchmark:
        f"{LOGS}/summarize_preview.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("summarize_preview"),
        code=code("summarize_preview"),
        folder=subpath(output.page, parent=True),
    shell:
        'exec sh "$TWOFOUR" summarize_preview --config {params.config:q} --models {input.models:q}'
        " --preview {params.folder:q} --log {log:q}"


rule preview:
    input:
        end_with_preview,
        **rules.summarize_preview.output,
