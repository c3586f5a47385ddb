"""Training: the loop and its parts, mixed precision, several processes, checkpoints."""

ROOT = "train.loop"  # the module whose imports determine the outcome of a training
