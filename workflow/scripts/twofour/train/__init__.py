"""Training: the loop and its parts, mixed precision, several processes, checkpoints."""

ROOT = "train.loop"  # the module with whose imports the outcome of a training is decided
