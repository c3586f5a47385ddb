"""What each stage depends on: the part of the configuration that it sees, and its code.

A changed key reruns the stages that list it, or its section, and all that depend on them; so does
a changed module that determines their output (:mod:`twofour.system.codehash`).
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import config, train
from .system import cli, codehash, sections
from .train.settings import Train

# How images become the network's input.
PICTURES = tuple(f"data.{key}" for key in ("image_size", "resize", "mean", "std"))
AUGMENTATION = tuple(
    f"data.{key}"
    for key in (
        *("crop_area", "crop_ratio", "flip", "train_size"),
        *("augment", "augment_operations", "augment_magnitude", "shuffle_buffer"),
    )
)
LOADING = tuple(f"data.{key}" for key in ("decoder", "decoder_load", "prefetch"))
MACHINE = ("hardware.device", "hardware.threads")
FILE_LISTS = tuple(
    f"data.{key}"
    for key in ("source", "root", "val_fraction", "split_seed", "max_rejected", "exif")
)
CHOSEN = ("sparsity.include", "sparsity.exclude", "sparsity.require_learnt")
DISTILLATION = ("train.distill", "train.distill_temperature")  # from the dense network
TRAINING = (
    *("seed", *PICTURES, *AUGMENTATION, *LOADING, "model", "dense.weights"),
    *(k for k in (f"train.{name}" for name in sections.names(Train)) if k not in DISTILLATION),
    *(*MACHINE, "hardware.gpus", "hardware.cpu_processes", "hardware.nodes"),
)
CALIBRATION = ("model", "sparsity.images", *PICTURES, *LOADING, "hardware.threads")
# What decides how accurate a deployed model is found to be.
EVALUATED = ("model.input_channels", *PICTURES, *LOADING, "evaluation.batch_size", *MACHINE)
EVERYTHING = tuple(sections.names(config.Config))


@dataclass(frozen=True)
class Stage:
    """``keys`` ("section.key") and whole sections ("section") of the configuration that it sees.

    ``code`` names the modules whose imports determine its output, if these are not those of the
    program.
    """

    keys: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


# program: stage
STAGES: dict[str, Stage] = {
    "check_config": Stage(EVERYTHING),
    "doctor": Stage(EVERYTHING),
    "make_digits": Stage(),
    "unpack_imagenet": Stage(("data.root",)),
    "prepare_dataset": Stage(FILE_LISTS),
    "train": Stage(TRAINING, code=(train.ROOT,)),
    "train_sparse": Stage((*TRAINING, *DISTILLATION), code=(train.ROOT,)),
    "train_qat": Stage(
        (
            *TRAINING,
            *(f"quantization.{name}" for name in ("qat_epochs", "qat_learning_rate", "qat_ranges")),
        ),
        code=(train.ROOT,),
    ),
    "import_dense": Stage(
        ("model", "dense.weights", *PICTURES, *LOADING, "evaluation.batch_size", *MACHINE)
    ),
    "permute": Stage(("seed", "model", "data.image_size", *CHOSEN)),
    "measure_inputs": Stage(CALIBRATION),
    "measure_sensitivity": Stage((*CALIBRATION, *CHOSEN)),
    "choose_layers": Stage(("model", *CHOSEN, "sparsity.choose")),
    "prune": Stage(("model", *CHOSEN)),
    "export": Stage(("model", *PICTURES, "data.exif")),
    "preview_weights": Stage(
        (
            *("data.source", "data.root", "data.val_fraction", "model"),
            *("dense.weights", "train.init", "sparsity.algorithm", "sparsity.include"),
            "sparsity.exclude",
        )
    ),
    "measure_training": Stage(
        (*TRAINING, "data.source", "data.root", "data.val_fraction", "rivals"), code=()
    ),
    "summarize_preview": Stage(("deploy", "benchmark.batch_sizes")),
    "preview": Stage(EVERYTHING),
    "calibrate": Stage(
        (
            *("model.input_channels", *PICTURES, *LOADING, "hardware.threads"),
            *(f"quantization.{name}" for name in ("images", "algorithm", "percentile")),
        )
    ),
    "quantize": Stage(("quantization.exclude",)),
    "check": Stage(),
    "import_weights": Stage(("model",)),
    "predict": Stage(),
    "evaluate_folder": Stage(),
    "compare_runs": Stage(),
    "verify": Stage(),
    "build": Stage(MACHINE),
    "build_for_batches": Stage((*MACHINE, "benchmark.batch_sizes", "evaluation.batch_size")),
    "reference": Stage(("model", *PICTURES, *LOADING, "evaluation.batch_size", *MACHINE)),
    "reference_int8": Stage(
        (
            *("model.input_channels", *PICTURES, *LOADING),
            *("evaluation.batch_size", "hardware.threads"),
        )
    ),
    "evaluate": Stage((*EVALUATED, "evaluation.tolerance")),
    "benchmark": Stage(
        (
            *("model.input_channels", *PICTURES, *LOADING),
            *("benchmark.warmup", "benchmark.steps", *MACHINE),
        )
    ),
    "list_models": Stage(
        (
            *("seed", "sparsity.algorithm", "dense", "train.keep", "train.distill"),
            *("quantization.method", "rivals"),
        )
    ),
    "compare": Stage(("deploy", "benchmark.batch_sizes")),
    "plot": Stage(("deploy",)),
    "plot_sensitivity": Stage(),
    "record_provenance": Stage(EVERYTHING),
    "report": Stage(
        (
            "deploy",
            *(f"sparsity.{name}" for name in ("algorithm", "sensitivity", "choose")),
        )
    ),
    "accept": Stage(("accept",)),
    "release": Stage(
        (
            *("run", *PICTURES, *AUGMENTATION, "data.exif", "model", "train", "sparsity"),
            *("deploy", "benchmark.batch_sizes", "release"),
        )
    ),
}


def settings(stage: str, configuration: config.Config, seed: int | None = None) -> str:
    """What the program of ``stage`` gets as --config: its part of the configuration, as JSON.

    With ``seed``, this one of several.
    """
    part = sections.select(configuration, STAGES[stage].keys)
    if seed is not None and "seed" in part:
        part["seed"] = seed
    return config.compact(part)


def load(source: str, stage: str) -> config.Config:
    """The configuration in ``source``, with nothing but the keys that ``stage`` declares.

    A job of the workflow gets it from Snakemake, which has checked the whole.
    """
    return config.load(source, STAGES[stage].keys, trusted=cli.TIED in os.environ)


def code(stage: str, *modules: str, scripts: Path = codehash.SCRIPTS) -> str:
    """Hash of the code that determines the output of ``stage``: its program, or ``Stage.code``.

    ``modules`` are loaded at run time as well ("deploy.backends.onnxruntime").
    """
    roots: Sequence[str | Path] = STAGES[stage].code or (scripts / f"{stage}.py",)
    return codehash.digest(*roots, *modules)


def digest(*parts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def parser(description: str, stage: str, **options) -> argparse.ArgumentParser:
    """The parser of a program with the options that all have in common, and the keys it reads."""
    keys = STAGES[stage].keys
    epilog = f"Reads from the configuration: {', '.join(keys)}." if keys else None
    return cli.parser(description, epilog, **options)
