"""Names of the files that the stages pass to each other, below results/<run>/."""

from __future__ import annotations

# The run
MODELS = "models.json"
COMPARISON = "comparison.csv"
COMPARISON_TEXT = "comparison.md"
PROVENANCE = "provenance.json"
REPORT = "report.html"
ACCEPTED = "accept.json"
PLOTS = ("training", "models", "layers")  # plots/<name>.svg

# The dataset stage: dataset/<name>
TRAIN_LIST, VAL_LIST = "train.txt", "val.txt"
CLASSES = "classes.txt"
DATASET = "dataset.json"
REJECTED = "rejected.csv"
REFUSED = "refused.csv"  # the same if the stage fails: Snakemake deletes a failed job's outputs
IMAGENET = "imagenet.json"

# Each model: <model>/<name>
WEIGHTS = "model.pdparams"
METRICS = "metrics.csv"
TRAINING = "train.json"
MASKS = "masks.npz"
SPARSITY = "sparsity.json"
PERMUTATION = "permutation.json"
CHECKPOINTS = "checkpoints"  # a folder, not an output: Snakemake must not delete it

# Each exported model: deploy/<model>/<name>
PADDLE_MODEL, PADDLE_WEIGHTS = "model.pdmodel", "model.pdiparams"
ONNX = "model.onnx"
DESCRIPTION = "model.json"
CHECK = "check.json"
EXPORTED = (PADDLE_MODEL, PADDLE_WEIGHTS, ONNX, DESCRIPTION, CLASSES)

# Each build of it: deploy/<model>/<backend>-<precision>/<name>
BUILD = "build.json"
