# images → checked file lists

# The built-in digits are made by a rule; a folder of the user's is there already.
if CONFIG["data"]["source"] == "digits":
    IMAGES = f"{RESULTS}/digits"
    IMAGES_STATE = "digits"
else:
    IMAGES = require_root(CONFIG)
    IMAGES_STATE = fingerprint(IMAGES)
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
    conda:
        "../../envs/cpu/environment.yaml"
    params:
        code=stages.code("make_digits"),
    shell:
        'exec python "$SCRIPTS"/make_digits.py --out {output:q} --log {log:q}'


rule dataset:
    input:
        IMAGES if CONFIG["data"]["source"] == "digits" else [],
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
        "../../envs/cpu/environment.yaml"
    threads: ALL_CORES
    params:
        config=settings("prepare_dataset"),
        code=stages.code("prepare_dataset"),
        images=lambda wildcards: IMAGES,
        state=IMAGES_STATE,
        out=lambda wildcards, output: dirname(output[0]),
    shell:
        'exec python "$SCRIPTS"/prepare_dataset.py --config {params.config:q} --root {params.images:q}'
        " --workers {threads} --out {params.out:q} --log {log:q}"
