# accuracy of each deployed model, and speed of all of them side by side


# The training graph's output for each image: all deployed forms of a model are compared with it.
rule reference:
    input:
        **DATASET,
        weights=f"{RESULTS}/{{model}}/{artifacts.WEIGHTS}",
    output:
        reference=path_of(artifacts.REFERENCE),
    log:
        f"{LOGS}/reference.{{model}}.log",
    benchmark:
        f"{LOGS}/reference.{{model}}.tsv"
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores()
    resources:
        gpu=int(ON_GPU),
    params:
        config=own("reference"),
        code=code("reference"),
        data=subpath(input.train, parent=True),
    shell:
        'exec sh "$TWOFOUR" --gpu reference --config {params.config:q} --data {params.data:q}'
        " --weights {input.weights:q} --out {output.reference:q} --log {log:q}"


# The same of the quantised network: engines round where they like, within limits.
rule reference_int8:
    input:
        **DATASET,
        onnx=QUANTIZED,
    output:
        reference=path_of(artifacts.QUANTIZED_REFERENCE),
    log:
        f"{LOGS}/reference_int8.{{model}}.log",
    benchmark:
        f"{LOGS}/reference_int8.{{model}}.tsv"
    conda:
        CPU_CONDA
    threads: cores()
    params:
        config=settings("reference_int8"),
        code=code("reference_int8"),
        data=subpath(input.train, parent=True),
    shell:
        'exec sh "$TWOFOUR" reference_int8 --config {params.config:q} --data {params.data:q}'
        " --onnx {input.onnx:q} --out {output.reference:q} --log {log:q}"


# All builds of a model in one job, since loading the libraries can take longer than an evaluation.
# What an earlier job found of a build stands unless something that decides it has changed.
rule evaluate:
    input:
        **DATASET,
        builds=of_cases(artifacts.BUILT),
        reference=path_of(artifacts.REFERENCE),
        quantized=path_of(artifacts.QUANTIZED_REFERENCE) if WITH_INT8 else [],
    output:
        evaluations=of_cases(artifacts.EVALUATION),
        predictions=of_cases(artifacts.PREDICTIONS),
    log:
        f"{LOGS}/evaluate.{{model}}.log",
    benchmark:
        f"{LOGS}/evaluate.{{model}}.tsv"
    wildcard_constraints:
        model="|".join(re.escape(name) for name in NAMES if name not in LEARNT),
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores()
    resources:
        gpu=max(backends.gpus(backend, HARDWARE.device) for backend, _ in CASES),
    params:
        config=settings("evaluate"),
        code=code("evaluate", *(f"deploy.backends.{backend}" for backend in dict(CASES))),
        data=subpath(input.train, parent=True),
        model=lambda wildcards, input: str(Path(input.builds[0]).parents[1]),
        builds=lambda wildcards, input: [str(Path(build).parent) for build in input.builds],
        quantized=lambda wildcards, input: (
            ["--quantized", str(input.quantized)] if input.quantized else []
        ),
    shell:
        'exec sh "$TWOFOUR" --gpu evaluate --config {params.config:q} --data {params.data:q}'
        " --model {params.model:q} --build {params.builds:q} --reference {input.reference:q}"
        " {params.quantized:q} --out {output.evaluations:q} --predictions {output.predictions:q}"
        " --log {log:q}"


if LEARNT:  # twins, which exist in int8 alone

    use rule evaluate as evaluate_int8 with:
        input:
            **DATASET,
            builds=of_cases(artifacts.BUILT, backends.INT8),
            reference=lambda wildcards: path_of(artifacts.REFERENCE).format(model=parent(wildcards)),
            quantized=path_of(artifacts.QUANTIZED_REFERENCE),
        output:
            evaluations=of_cases(artifacts.EVALUATION, backends.INT8),
            predictions=of_cases(artifacts.PREDICTIONS, backends.INT8),
        wildcard_constraints:
            model="|".join(map(re.escape, LEARNT)),


rule benchmark:
    input:
        **DATASET,
        builds=lambda wildcards: expand(BUILT, model=measured(wildcards), allow_missing=True),
        floating=lambda wildcards: floating(wildcards),
    output:
        speeds=expand(
            path_of(artifacts.SPEED),
            model=[name for name in MEASURED if name not in LEARNT],
            allow_missing=True,
        ),
    log:
        f"{LOGS}/benchmark.{{backend}}-{{precision}}.log",
    benchmark:
        f"{LOGS}/benchmark.{{backend}}-{{precision}}.tsv"
    wildcard_constraints:
        precision="|".join({p for _, p in CASES if not LEARNT or p != backends.INT8}) or "(?!)",
    conda:
        COMPUTE_CONDA
    container:
        COMPUTE_CONTAINER
    threads: cores(every=True)
    resources:
        gpu=gpus,
    params:
        config=settings("benchmark"),
        code=backend_code("benchmark"),
        data=lambda wildcards, input: data_of(input),
        models=lambda wildcards, input: [str(Path(build).parents[1]) for build in input.builds],
        builds=lambda wildcards, input: [str(Path(build).parent) for build in input.builds],
        floating=lambda wildcards, input: (
            ["--floating", str(Path(input.floating).parent)] if input.floating else []
        ),
        batch_sizes=CONFIG.benchmark.batch_sizes,
    shell:
        'exec sh "$TWOFOUR" --gpu benchmark --config {params.config:q} {params.data:q}'
        " --model {params.models:q} --build {params.builds:q} {params.floating:q}"
        " --batch-size {params.batch_sizes} --out {output.speeds:q} --log {log:q}"


if LEARNT:

    use rule benchmark as benchmark_int8 with:
        output:
            speeds=expand(
                path_of(artifacts.SPEED),
                model=MEASURED,
                allow_missing=True,
            ),
        wildcard_constraints:
            precision=backends.INT8,
