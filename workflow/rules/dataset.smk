# images → checked file lists

SOURCE = CONFIG.data.source
LISTS = {
    "train": f"{RESULTS}/dataset/{artifacts.TRAIN_LIST}",
    "val": f"{RESULTS}/dataset/{artifacts.VAL_LIST}",
    "classes": f"{RESULTS}/dataset/{artifacts.CLASSES}",
    "digests": f"{RESULTS}/dataset/{artifacts.DIGESTS}",
}
SUMMARY = f"{RESULTS}/dataset/{artifacts.DATASET}"
IMAGENET = f"{RESULTS}/imagenet/{artifacts.IMAGENET}"

# The built-in digits are made by a rule; the user's own folder exists already.
if SOURCE == "digits":
    IMAGES = f"{RESULTS}/digits"
    IMAGES_STATE = "digits"
else:
    IMAGES = CONFIG.data.root
    try:
        tree.require_apart(IMAGES, [".", RESULTS])
        if SOURCE == "folder":
            IMAGES_STATE = tree.state(IMAGES)
        elif SOURCE == "shards":
            IMAGES_STATE = shards.state(IMAGES)
        else:  # by its archives if they are present: a million files take long to look at
            IMAGES_STATE = imagenet.state(IMAGES) or tree.names(IMAGES)
    except TwoFourError as error:
        raise WorkflowError(f"configuration: {error}")
    if not IMAGES_STATE:
        raise WorkflowError(
            f"configuration: data.root: there is no folder {os.path.abspath(IMAGES)}; "
            "name the one with your images"
        )

# What the lists are made of.
MAKERS = {"digits": ["make_digits"], "ilsvrc2012": ["unpack_imagenet"]}.get(SOURCE, [])
ORIGIN = stages.digest(
    stages.settings("prepare_dataset", CONFIG),
    IMAGES_STATE,
    *(code(program) for program in (*MAKERS, "prepare_dataset")),
)


rule make_digits:
    output:
        images=directory(f"{RESULTS}/digits"),
    log:
        f"{LOGS}/make_digits.log",
    benchmark:
        f"{LOGS}/make_digits.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        code=code("make_digits"),
    shell:
        'exec sh "$TWOFOUR" make_digits --out {output.images:q} --log {log:q}'


# The images themselves stay in data.root and are not an output: Snakemake deletes the outputs of a
# failed job.
rule unpack_imagenet:
    output:
        imagenet=IMAGENET,
    log:
        f"{LOGS}/unpack_imagenet.log",
    benchmark:
        f"{LOGS}/unpack_imagenet.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=settings("unpack_imagenet"),
        code=code("unpack_imagenet"),
        state=lambda wildcards: IMAGES_STATE,
    shell:
        'exec sh "$TWOFOUR" unpack_imagenet --config {params.config:q} --workers {threads}'
        " --out {output.imagenet:q} --log {log:q}"


DATASET = {**LISTS, "dataset": dataset}


checkpoint prepare_dataset:
    input:
        images=IMAGES if SOURCE == "digits" else [],
        imagenet=IMAGENET if SOURCE == "ilsvrc2012" else [],
    output:
        **LISTS,
        content=CONTENT,
        summary=SUMMARY,
        rejected=f"{RESULTS}/dataset/{artifacts.REJECTED}",
    log:
        f"{LOGS}/prepare_dataset.log",
    benchmark:
        f"{LOGS}/prepare_dataset.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=settings("prepare_dataset"),
        code=code("prepare_dataset"),
        images=lambda wildcards, input: (
            ["--imagenet", input.imagenet]
            if input.imagenet
            else ["--root", input.images or IMAGES]
        ),
        origin=lambda wildcards: ORIGIN,
        out=subpath(output.train, parent=True),
    shell:
        'exec sh "$TWOFOUR" prepare_dataset --config {params.config:q} {params.images:q}'
        " --origin {params.origin} --workers {threads} --out {params.out:q} --log {log:q}"


# Where the lists stay as they are, Snakemake need not look at all jobs twice.
checkpoints.prepare_dataset.rule.is_checkpoint = lists_may_change()
