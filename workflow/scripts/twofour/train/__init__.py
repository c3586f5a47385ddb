"""Training: the loop and its parts, mixed precision, several processes, checkpoints."""

ROOT = "train.process"  # the module whose imports determine the outcome of a training
