# images → checked file lists

# The built-in digits are made by a rule; a folder of the user's is there already.
SOURCE = CONFIG["data"]["source"]
IMAGENET = f"{RESULTS}/imagenet/imagenet.json"
if SOURCE == "digits":
    IMAGES = f"{RESULTS}/digits"
    IMAGES_STATE = "digits"
else:
    IMAGES = require_root(CONFIG)
    # Of ImageNet the archives count, if they are there: a million files take long to look at.
    archives = imagenet.state(IMAGES) if SOURCE == "ilsvrc2012" else ""
    IMAGES_STATE = archives or fingerprint(IMAGES, sizes=SOURCE == "folder")
    if not IMAGES_STATE:
        raise WorkflowError(
            f"data.root: there is no folder {IMAGES}; name the one with your images"
        )


rule digits:
    output:
        directory(f"{RESULTS}/digits"),
    log:
        f"{RESULTS}/logs/digits.log",
    benchmark:
        f"{RESULTS}/logs/digits.tsv"
    localrule: True
    conda:
        CPU_CONDA
    params:
        code=stages.code("make_digits"),
    shell:
        'exec python "$SCRIPTS"/make_digits.py --out {output:q} --log {log:q}'


# The images themselves lie in data.root and are no output: Snakemake deletes those of a failed job.
rule imagenet:
    output:
        IMAGENET,
    log:
        f"{RESULTS}/logs/imagenet.log",
    benchmark:
        f"{RESULTS}/logs/imagenet.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        code=stages.code("unpack_imagenet"),
        images=lambda wildcards: IMAGES,
        state=lambda wildcards: IMAGES_STATE,
    shell:
        'exec python "$SCRIPTS"/unpack_imagenet.py --root {params.images:q} --workers {threads}'
        " --out {output:q} --log {log:q}"


rule dataset:
    input:
        IMAGES if SOURCE == "digits" else [],
        imagenet=IMAGENET if SOURCE == "ilsvrc2012" else [],
    output:
        f"{RESULTS}/dataset/train.txt",
        f"{RESULTS}/dataset/val.txt",
        f"{RESULTS}/dataset/classes.txt",
        f"{RESULTS}/dataset/dataset.json",
        f"{RESULTS}/dataset/rejected.csv",
    log:
        f"{RESULTS}/logs/dataset.log",
    benchmark:
        f"{RESULTS}/logs/dataset.tsv"
    conda:
        CPU_CONDA
    threads: cores(every=True)
    params:
        config=settings("prepare_dataset"),
        code=stages.code("prepare_dataset"),
        images=lambda wildcards, input: (
            ["--imagenet", input.imagenet] if input.imagenet else ["--root", IMAGES]
        ),
        state=lambda wildcards: IMAGES_STATE,
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/prepare_dataset.py --config {params.config:q} {params.images:q}'
        " --workers {threads} --out {params.out:q} --log {log:q}"
