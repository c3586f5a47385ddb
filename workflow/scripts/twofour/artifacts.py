"""Names of the files that the stages pass to each other, below results/<run>/."""

from __future__ import annotations

# The run
MODELS = "models.json"
COMPARISON = "comparison.csv"
COMPARISON_TEXT = "comparison.md"
VERDICT = "verdict.txt"  # what the run shows at its end
PROVENANCE = "provenance.json"
REPORT = "report.html"
ACCEPTED = "accept.json"
CLASS_TABLE, CONFUSION = "classes.csv", "confusion.csv"
PLOTS = ("tradeoff", "models", "classes", "training", "layers")  # plots/<name>.svg

# The dataset stage: dataset/<name>
TRAIN_LIST, VAL_LIST = "train.txt", "val.txt"
CLASSES = "classes.txt"
DATASET = "dataset.json"
DIGESTS = "digests.npz"  # of the images' pixels, in the order of the lists
CONTENT = "content.json"  # a hash of all of it, and which images the loader turns
REJECTED = "rejected.csv"
REFUSED = "refused.csv"  # the same if the stage fails: Snakemake deletes a failed job's outputs
IMAGENET = "imagenet.json"

# Each model: <model>/<name>
WEIGHTS = "model.pdparams"
LAST_WEIGHTS = "last.pdparams"  # of the last epoch, where the best one is kept
METRICS = "metrics.csv"
RANGES = "ranges.json"  # of rounded activations, as learnt
TRAINING = "train.json"
SEEN = "seen.npy"  # digests of the images it was trained on
TENSORBOARD = "tensorboard"  # a folder of event files, not an output either
MASKS = "masks.npz"
SPARSITY = "sparsity.json"
PERMUTATION = "permutation.json"
INPUTS = "inputs.npz"  # norms of what each weight reads
CHECKPOINTS = "checkpoints"  # a folder, not an output: Snakemake must not delete it

# What pruning costs, and which layers were chosen: <folder>[/<algorithm>]/<name>
SENSITIVITY_FOLDER = "sensitivity"
SENSITIVITY, PATH, CHOICE = "sensitivity.csv", "path.csv", "choice.json"
SENSITIVITY_PLOT, PARETO_PLOT = "sensitivity.svg", "pareto.svg"
SENSITIVITY_NOTES = "notes.{what}.npz"  # of a measurement under way, not an output

# What a run will buy, before any training: preview/<name>, and models and speeds as in the run
PREVIEW = "preview"
PREVIEW_TEXT, PREVIEW_PAGE, PREVIEW_TABLE = "preview.md", "preview.html", "preview.csv"
PREVIEW_VERDICT = "preview.txt"  # what it shows at its end
TRAINING_COST = "training.json"  # time and memory

INT8 = "int8"  # the precision of quantised models, in names of files and of cases

# Each exported model: deploy/<model>/<name>
PADDLE_MODEL, PADDLE_WEIGHTS = "model.pdmodel", "model.pdiparams"
ONNX = "model.onnx"
DESCRIPTION = "model.json"
CHECK = "check.json"
CALIBRATION = "calibration.json"  # ranges of the activations
QUANTIZED = "model.int8.onnx"
QUANTIZED_CHECK = "check.int8.json"
EXPORTED = {
    "paddle": PADDLE_MODEL,
    "parameters": PADDLE_WEIGHTS,
    "onnx": ONNX,
    "description": DESCRIPTION,
    "classes": CLASSES,
}

# Each build of it: deploy/<model>/<backend>-<precision>/<name>
BUILD = "build.json"
KEPT = "evaluated.npz"  # what was found of it, not an output

# Each release: release/<model>/<name>, beside what is exported and built
WITH_IMAGES = "model.uint8.onnx"  # takes decoded images
CARD = "README.md"
TRITON = "triton"  # a folder
CERTIFICATE = "certificate.json"
CHECKSUMS = "SHA256SUMS"

# Paths below results/<run>/ with fields for str.format; a case is <backend>-<precision>
BUILT = "deploy/{model}/{case}/" + BUILD
REFERENCE = "reference/{model}.npz"
QUANTIZED_REFERENCE = "reference/{model}.int8.npz"
EVALUATION = "evaluation/{model}/{case}.json"
PREDICTIONS = "evaluation/{model}/{case}.predictions.npz"
SPEED = "benchmark/{model}/{case}.json"  # {batch size: what was measured}
PLOT = "plots/{name}.svg"
RELEASED = "release/{model}"
