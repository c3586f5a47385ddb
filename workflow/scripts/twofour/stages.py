"""Which part of the configuration each stage sees, and so what reruns it.

A changed key reruns the stages that list it, or its section, and all that follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import config, sources

# How images become the network's input; the rest of the section data concerns the file lists only.
PICTURES = [f"data.{key}" for key in ("image_size", "resize", "mean", "std")]
AUGMENTATION = [f"data.{key}" for key in ("crop_area", "crop_ratio", "flip", "train_size")]
LOADING = [f"data.{key}" for key in ("decoder", "decoder_load", "prefetch")]
MACHINE = ["hardware.device", "hardware.threads"]
FILE_LISTS = [f"data.{key}" for key in ("source", "root", "val_fraction", "max_rejected")]
CHOSEN = ["sparsity.include", "sparsity.exclude", "sparsity.require_learnt"]

# program: keys ("section.key") and whole sections ("section") of the config that it is given
STAGES: dict[str, list[str]] = {
    "doctor": list(config.schema()["properties"]),
    "make_digits": [],
    "unpack_imagenet": [],
    "prepare_dataset": ["seed", *FILE_LISTS],
    "train": [
        *("seed", *PICTURES, *AUGMENTATION, *LOADING, "model", "train"),
        *(*MACHINE, "hardware.gpus", "hardware.cpu_processes", "hardware.nodes"),
    ],
    "permute": ["seed", "model", "data.image_size", "data.resize", *CHOSEN],
    "prune": ["model", *CHOSEN],
    "export": ["model", *PICTURES],
    "check_sparsity": [],
    "build": MACHINE,
    "build_for_batches": [*MACHINE, "benchmark.batch_sizes", "evaluation.batch_size"],
    "evaluate": ["model", *PICTURES, *LOADING, "evaluation", *MACHINE],
    "benchmark": [
        "model.input_channels",
        *PICTURES,
        *LOADING,
        "benchmark.warmup",
        "benchmark.steps",
        *MACHINE,
    ],
    "compare": ["sparsity.algorithm", "deploy", "benchmark.batch_sizes"],
    "plot": ["sparsity.algorithm", "deploy"],
    "provenance": list(config.schema()["properties"]),
    "report": ["sparsity.algorithm", "deploy"],
    "accept": ["accept"],
}


def settings(stage: str, configuration: Mapping) -> str:
    """What the program of ``stage`` gets as --config: its part of the config, as JSON."""
    return config.compact(config.select(configuration, STAGES[stage]))


def code(stage: str, *extra: str) -> str:
    """Hash of the program of ``stage`` and all it imports, see :func:`twofour.sources.digest`."""
    return sources.digest(f"{stage}.py", *extra)
