# dense weights → channels in a better order (if asked for) → 2:4 pruned weights and their masks

# What is pruned: weights of a dense network, or these with their channels in another order.
UNPRUNED = (
    f"{RESULTS}/{{seed}}{'permuted' if CONFIG.sparsity.permute else DENSE}/{artifacts.WEIGHTS}"
)
# The layers are chosen once, for all seeds, from what is measured with the first.
MEASURED_LAYERS = f"{RESULTS}/{artifacts.SENSITIVITY_FOLDER}{{algorithm}}"
CHOICE = f"{MEASURED_LAYERS}/{artifacts.CHOICE}"
CHOOSES = CONFIG.sparsity.choose.max_top1_drop is not None
MEASURES = CHOOSES or CONFIG.sparsity.sensitivity


rule permute:
    input:
        dataset=dataset,
        dense=f"{RESULTS}/{SEED}{DENSE}/{artifacts.WEIGHTS}",
        training=f"{RESULTS}/{SEED}{DENSE}/{artifacts.TRAINING}",
    output:
        weights=f"{RESULTS}/{SEED}permuted/{artifacts.WEIGHTS}",
        permutation=f"{RESULTS}/{SEED}permuted/{artifacts.PERMUTATION}",
    log:
        f"{LOGS}/{SEED}permute.log",
    benchmark:
        f"{LOGS}/{SEED}permute.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=seeded("permute"),
        code=code("permute"),
        out=subpath(output.weights, parent=True),
    shell:
        'exec sh "$TWOFOUR" permute --config {params.config:q} --weights {input.dense:q}'
        " --training {input.training:q} --threads {threads} --out {params.out:q} --log {log:q}"


rule measure_inputs:
    input:
        dataset=dataset,
        train=LISTS["train"],
        classes=LISTS["classes"],
        weights=UNPRUNED.format(seed=SEED),
    output:
        inputs=f"{RESULTS}/{SEED}{artifacts.INPUTS}",
    log:
        f"{LOGS}/{SEED}measure_inputs.log",
    benchmark:
        f"{LOGS}/{SEED}measure_inputs.tsv"
    conda:
        CPU_CONDA
    threads: cores()
    params:
        config=settings("measure_inputs"),
        code=code("measure_inputs"),
        data=subpath(input.train, parent=True),
    shell:
        'exec sh "$TWOFOUR" measure_inputs --config {params.config:q} --data {params.data:q}'
        " --weights {input.weights:q} --out {output.inputs:q} --log {log:q}"


# Without a validation image: these must not decide what is pruned.
rule measure_sensitivity:
    input:
        dataset=dataset,
        train=LISTS["train"],
        classes=LISTS["classes"],
        weights=UNPRUNED.format(seed=""),
        training=f"{RESULTS}/{DENSE}/{artifacts.TRAINING}",
        inputs=norms(""),
        speeds=lambda wildcards: timed_layers(),
    output:
        sensitivity=f"{MEASURED_LAYERS}/{artifacts.SENSITIVITY}",
        path=f"{MEASURED_LAYERS}/{artifacts.PATH}",
    log:
        f"{LOGS}/measure_sensitivity{{algorithm}}.log",
    benchmark:
        f"{LOGS}/measure_sensitivity{{algorithm}}.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=settings("measure_sensitivity"),
        code=code("measure_sensitivity"),
        algorithm=lambda wildcards: ALGORITHMS[wildcards.algorithm],
        data=subpath(input.train, parent=True),
        inputs=lambda wildcards, input: [
            *(["--inputs", input.inputs] if input.inputs else []),
            *(["--speeds", *input.speeds] if input.speeds else []),
        ],
        out=subpath(output.path, parent=True),
    shell:
        'exec sh "$TWOFOUR" measure_sensitivity --config {params.config:q} --data {params.data:q}'
        " --weights {input.weights:q} --training {input.training:q} {params.inputs:q}"
        " --algorithm {params.algorithm} --out {params.out:q} --log {log:q}"


rule choose_layers:
    input:
        dataset=dataset,
        path=rules.measure_sensitivity.output.path,
    output:
        choice=CHOICE,
    log:
        f"{LOGS}/choose_layers{{algorithm}}.log",
    benchmark:
        f"{LOGS}/choose_layers{{algorithm}}.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("choose_layers"),
        code=code("choose_layers"),
    shell:
        'exec sh "$TWOFOUR" choose_layers --config {params.config:q}'
        " --path {input.path:q} --out {output.choice:q} --log {log:q}"


rule plot_sensitivity:
    input:
        dataset=dataset,
        sensitivity=rules.measure_sensitivity.output.sensitivity,
        path=rules.measure_sensitivity.output.path,
        choice=CHOICE if CHOOSES else [],
    output:
        layers=f"{MEASURED_LAYERS}/{artifacts.SENSITIVITY_PLOT}",
        pareto=f"{MEASURED_LAYERS}/{artifacts.PARETO_PLOT}",
    log:
        f"{LOGS}/plot_sensitivity{{algorithm}}.log",
    benchmark:
        f"{LOGS}/plot_sensitivity{{algorithm}}.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        code=code("plot_sensitivity"),
        measured=subpath(input.path, parent=True),
        choice=lambda wildcards, input: ["--choice", input.choice] if input.choice else [],
    shell:
        'exec sh "$TWOFOUR" plot_sensitivity --sensitivity {params.measured:q} {params.choice:q}'
        " --log {log:q}"


rule prune:
    input:
        dataset=dataset,
        dense=f"{RESULTS}/{SEED}{DENSE}/{artifacts.WEIGHTS}",
        training=f"{RESULTS}/{SEED}{DENSE}/{artifacts.TRAINING}",
        permuted=(
            f"{RESULTS}/{SEED}permuted/{artifacts.WEIGHTS}" if CONFIG.sparsity.permute else []
        ),
        inputs=norms(SEED),
        choice=CHOICE if CHOOSES else [],
    output:
        weights=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.WEIGHTS}",
        masks=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.MASKS}",
        sparsity=f"{RESULTS}/{SEED}{PRUNED}{{algorithm}}/{artifacts.SPARSITY}",
    log:
        f"{LOGS}/{SEED}prune{{algorithm}}.log",
    benchmark:
        f"{LOGS}/{SEED}prune{{algorithm}}.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        config=settings("prune"),
        code=code("prune"),
        algorithm=lambda wildcards: ALGORITHMS[wildcards.algorithm],
        weights=lambda wildcards, input: (
            ["--weights", input.permuted, "--unpermuted", input.dense]
            if input.permuted
            else ["--weights", input.dense]
        ),
        given=lambda wildcards, input: [
            *(["--inputs", input.inputs] if input.inputs else []),
            *(["--choice", input.choice] if input.choice else []),
        ],
        out=subpath(output.weights, parent=True),
    shell:
        'exec sh "$TWOFOUR" prune --config {params.config:q} {params.weights:q} {params.given:q}'
        " --training {input.training:q} --algorithm {params.algorithm} --out {params.out:q} --log {log:q}"
