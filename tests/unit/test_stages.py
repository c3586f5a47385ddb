"""What reruns when: which stages see which key, and which modules decide what they make.

Everything downstream of a stage reruns too, which is up to Snakemake (tests/workflow).
"""

import sys

from twofour import config, stages
from twofour.deploy import backends
from twofour.system import cli, codehash, sections
from twofour.system.errors import TwoFourError

import pytest
from conftest import ROOT

# These see the whole configuration.
ALWAYS = {"check_config", "doctor", "record_provenance", "preview"}
TRAIN = {"train", "train_sparse", "train_qat", "measure_training"}
INPUT = {
    *TRAIN,
    *("import_dense", "export", "reference", "evaluate", "benchmark"),
    *("calibrate", "reference_int8"),
    *("measure_inputs", "measure_sensitivity"),
}
CHOICE = {"permute", "prune", "measure_sensitivity", "choose_layers"}
WEIGHED = {"measure_inputs", "measure_sensitivity"}
NETWORK = {
    *(*TRAIN, *CHOICE, "measure_inputs"),
    *("export", "reference", "import_weights", "import_dense", "preview_weights"),
}
MACHINE = {
    *TRAIN,
    *("import_dense", "build", "build_for_batches"),
    *("reference", "evaluate", "benchmark"),
}
LISTS = {"prepare_dataset"}
COUNTS = {"preview_weights", "measure_training"}  # read how many images and classes there are
# What a model card states, besides what is measured.
CARD = {
    *(*stages.PICTURES, *stages.AUGMENTATION, "data.exif"),
    *("run", "model", "train", "sparsity", "deploy", "benchmark.batch_sizes"),
}
DEPLOYED = {"compare", "plot", "report", "summarize_preview"}

KEYS = {
    "run": ("other", set()),  # changes only the folder
    "seed": (7, {*TRAIN, "permute", "list_models"}),
    "data.source": ("ilsvrc2012", {*LISTS, *COUNTS}),
    "data.root": ("elsewhere", {*LISTS, *COUNTS, "unpack_imagenet"}),
    "data.val_fraction": (0.3, {*LISTS, *COUNTS}),
    "data.split_seed": (2, LISTS),
    "data.max_rejected": (0.3, LISTS),
    "data.exif": ("ignore", {*LISTS, "export"}),
    "data.image_size": (24, {*INPUT, "permute"}),
    "data.train_size": ([[1, 24], [2, 32]], TRAIN),
    "data.decoder": ("cpu", INPUT - {"export"}),
    "data.decoder_load": (0.5, INPUT - {"export"}),
    "data.prefetch": (3, INPUT - {"export"}),
    "data.resize": (400, INPUT),
    "data.crop_area": ([0.7, 1.0], TRAIN),
    "data.crop_ratio": ([1.0, 1.0], TRAIN),
    "data.flip": (False, TRAIN),
    "data.augment": ("randaugment", TRAIN),
    "data.augment_operations": (3, TRAIN),
    "data.augment_magnitude": (5, TRAIN),
    "data.shuffle_buffer": (100, TRAIN),
    "data.mean": ([0.5, 0.5, 0.5], INPUT),
    "data.std": ([0.5, 0.5, 0.5], INPUT),
    "model.name": ("resnet101", NETWORK),
    "model.width": (0.25, NETWORK),
    "model.blocks": ([1, 1, 1, 2], NETWORK),
    "model.input_channels": (
        4,
        {*NETWORK, "evaluate", "benchmark", "calibrate", "reference_int8"},
    ),
    "dense.weights": ("w.pdparams", {*TRAIN, "import_dense", "list_models", "preview_weights"}),
    "dense.control": (True, {"list_models"}),
    "train.epochs": (30, TRAIN),
    "train.batch_size": (4, TRAIN),
    "train.learning_rate": (0.5, TRAIN),
    "train.warmup_epochs": (1, TRAIN),
    "train.momentum": (0.9, TRAIN),
    "train.weight_decay": (0.0, TRAIN),
    "train.label_smoothing": (0.0, TRAIN),
    "train.precision": ("fp32", TRAIN),
    "train.loss_scale": (64, TRAIN),
    "train.dynamic_loss_scaling": (False, TRAIN),
    "train.layout": ("NHWC", TRAIN),
    "train.accumulation": (2, TRAIN),
    "train.ema": (0.99, TRAIN),
    "train.init": ("weights.pdparams", {*TRAIN, "preview_weights"}),
    "train.head_factor": (10, TRAIN),
    "train.freeze_stem": (True, TRAIN),
    "train.keep": ("best", {*TRAIN, "list_models"}),
    "train.patience": (3, TRAIN),
    "train.sampling": ("balanced", TRAIN),
    "train.class_weights": ("auto", TRAIN),
    "train.mixup": (0.2, TRAIN),
    "train.cutmix": (1, TRAIN),
    "train.distill": (0.5, {"train_sparse", "list_models"}),
    "train.distill_temperature": (2, {"train_sparse"}),
    "train.tensorboard": (True, TRAIN),
    "train.checkpoint_minutes": (1, TRAIN),
    "sparsity.algorithm": ("mask_2d_best", {"list_models", "report", "preview_weights"}),
    "sparsity.include": (["layer*"], {*CHOICE, "preview_weights"}),
    "sparsity.exclude": (["stem.conv.weight"], {*CHOICE, "preview_weights"}),
    "sparsity.permute": (True, set()),  # changes which rules exist
    "sparsity.require_learnt": (False, CHOICE),
    "sparsity.images": (100, WEIGHED),
    "sparsity.sensitivity": (True, {"report"}),
    "sparsity.choose": ({"max_top1_drop": 1}, {"choose_layers", "report"}),
    "quantization.images": (7, {"calibrate"}),
    "quantization.algorithm": ("mse", {"calibrate"}),
    "quantization.percentile": (99, {"calibrate"}),
    "quantization.method": ("qat", {"list_models"}),
    "quantization.qat_epochs": (3, {"train_qat"}),
    "quantization.qat_learning_rate": (0.1, {"train_qat"}),
    "quantization.qat_ranges": ("average", {"train_qat"}),
    "quantization.exclude": (["stem.*"], {"quantize"}),
    "deploy.backends": (["paddle"], DEPLOYED),
    "deploy.precisions": (["fp32", "bf16"], DEPLOYED),
    "evaluation.batch_size": (
        9,
        {"build_for_batches", "import_dense", "reference", "reference_int8", "evaluate"},
    ),
    "evaluation.tolerance": ({"fp32": 0.01}, {"evaluate"}),
    "benchmark.batch_sizes": ([1], {"build_for_batches", "compare", "summarize_preview"}),
    "benchmark.warmup": (2, {"benchmark"}),
    "benchmark.steps": (6, {"benchmark"}),
    "accept.max_top1_drop": (90, {"accept"}),
    "accept.judge": ("bound", {"accept"}),
    "release.license": ("mit", {"release"}),
    "release.preprocessing": (False, {"release"}),
    "rivals": ([{"model": {"width": 0.5}}], {"list_models", "measure_training"}),
    "hardware.device": ("cpu", MACHINE),
    "hardware.threads": (2, {*MACHINE, *WEIGHED, "calibrate", "reference_int8"}),
    "hardware.gpus": (2, TRAIN),
    "hardware.cpu_processes": (2, TRAIN),
    "hardware.nodes": (2, TRAIN),
    "hardware.environment": (sys.prefix, set()),
    "hardware.container": ("docker://image", set()),
}


def test_the_table_knows_every_key():
    whole = config.validated({})
    keys = set()
    for name in sections.names(config.Config):
        value = getattr(whole, name)
        inner = sections.names(type(value)) if isinstance(value, sections.Section) else None
        keys |= {f"{name}.{key}" for key in inner} if inner else {name}
    assert keys == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_changed_key_is_seen_by_exactly_its_stages(key):
    value, expected = KEYS[key]
    section, _, name = key.partition(".")
    start = {  # what some values need
        "train.freeze_stem": {"train": {"init": "w.pdparams"}},
        "quantization.method": {"deploy": {"precisions": ["int8"]}},
    }.get(key, {})
    before = config.validated(start)
    given = {section: {name: value, **start.get(section, {})}} if name else {section: value}
    after = config.validated({**start, **given})
    changed = {s for s in stages.STAGES if stages.settings(s, before) != stages.settings(s, after)}
    card = {"release"} if CARD & {key, section} else set()
    assert changed == expected | card | ALWAYS


# Programs that no rule runs: nothing depends on their hash.
USERS = {
    "check_config",
    "preview",
    "doctor",
    "predict",
    "evaluate_folder",
    "compare_runs",
    "verify",
}
TRAINING = {"train", "train_sparse", "train_qat"}
STEPS = {*TRAINING, "measure_training"}
COMPARED = {"compare", "plot", "report", "accept", "release", "summarize_preview"}
COSTS = {"measure_sensitivity", "choose_layers", "plot_sensitivity", "report"}  # of pruning
WORDED = {"compare", "report", "release", "summarize_preview"}
INFERENCE = {*TRAINING, "import_dense", "permute", "reference", "export"}
MODULES = {
    # plumbing, which does not affect results
    "system.progress": set(),
    "system.cli": set(),
    "system.errors": set(),
    "system.files": set(),
    "system.slurm": set(),
    "system.hardware": set(),
    "data.records": set(),
    "data.culprit": set(),
    "train.display": set(),
    "train.health": set(),
    "train.launch": set(),
    "train.stopping": set(),
    "train.checkpoint": set(),
    "train.settings": set(),
    "config": set(),
    "stages": set(),
    # what affects results
    "train.board": set(),
    "train.qat": TRAINING,
    "train.best": TRAINING,
    "train.balance": TRAINING,
    "train.mixing": STEPS,
    "train.loop": TRAINING,
    "train.state": TRAINING,
    "train.updater": STEPS,
    "train.training_graph": STEPS,
    "train.amp": STEPS,
    "train.recipe": STEPS,
    "train.parallel": STEPS,
    "train.seen": {*TRAINING, "import_dense", "report"},
    "train.given": {"import_dense"},
    "train.metrics": {
        *TRAINING,
        "import_dense",
        "prune",
        "permute",
        "evaluate",
        "measure_sensitivity",
    },
    "data.loader": {
        *TRAINING,
        *("import_dense", "reference", "evaluate", "benchmark", "calibrate", "reference_int8"),
        *WEIGHED,
    },
    "data.readers": {
        *TRAINING,
        *("import_dense", "reference", "evaluate", "benchmark", "calibrate", "reference_int8"),
        *WEIGHED,
    },
    "data.shards": {"prepare_dataset", *COUNTS},
    "data.images": {"prepare_dataset"},
    "data.dataset": {"prepare_dataset"},
    "data.tree": {"prepare_dataset", "unpack_imagenet", *COUNTS},
    "data.findings": {"prepare_dataset", "report"},
    "data.decoding": {"prepare_dataset"},
    "data.split": {"prepare_dataset"},
    "data.imagenet": {"unpack_imagenet"},
    "data.digits": {"make_digits"},
    "network.inference": INFERENCE,
    "network.pieces": {"measure_training", "measure_inputs", *COSTS},
    "sparse.masks": {*TRAINING, "prune", "permute", "measure_sensitivity", "preview_weights"},
    "sparse.inputs": {*WEIGHED, "prune"},
    "sparse.sensitivity": {"measure_inputs", *COSTS},
    "sparse.choice": COSTS,
    "sparse.permute": {"permute"},
    "sparse.check": {"build", "check", "evaluate", "benchmark", "release"},
    "quantization.calibration": {"calibrate", "quantize"},
    "quantization.ranges": {"calibrate", "quantize", "reference_int8", "release"},
    "quantization.forms": {"quantize", "release"},
    "quantization.lint": {"check"},
    "quantization.observe": {"calibrate", "quantize", "reference_int8"},
    "deploy.export": {"export"},
    "deploy.evaluate": {"evaluate"},
    "deploy.inference": {"reference", "reference_int8"},
    "deploy.benchmark": {"benchmark"},
    "deploy.reference": {
        *("reference", "reference_int8", "evaluate"),
        *COMPARED,
    },
    "report.compare": COMPARED,
    "report.outcome": WORDED,
    "report.words": WORDED,
    "report.display": {"compare", "report", "summarize_preview"},
    "report.preview": {"summarize_preview"},
    "report.template": {"report", "summarize_preview"},
    "report.statistics": COMPARED,
    "deploy.predicted": {"evaluate", *COMPARED},
    "deploy.kept": {"evaluate"},
    "network.stand_in": {"preview_weights"},
    "data.noise": {
        "benchmark",
        "calibrate",
        *WEIGHED,
        "choose_layers",
        "plot_sensitivity",
        "report",
    },
    "report.release": {"release"},
    "report.certificate": {"release"},
    "deploy.triton": {"release"},
    "deploy.snippet": {"report", "release"},
    "report.plot": {"plot"},
    "report.style": {"plot", "plot_sensitivity"},
    "report.sensitivity": {"plot_sensitivity"},
    "report.report": {"report"},
    "report.captions": {"report"},
    "report.provenance": {"record_provenance"},
}


@pytest.mark.parametrize("name", stages.STAGES)
def test_a_job_reads_what_was_checked_as_if_it_checked_it_again(name, monkeypatch):
    whole = config.load(str(ROOT / "config" / "config.yaml"))
    given = stages.settings(name, whole)
    checked = sections.as_dict(stages.load(given, name))
    monkeypatch.setenv(cli.TIED, cli.ANY_PARENT)
    monkeypatch.setitem(sys.modules, "jsonschema", None)  # which takes long to load
    assert sections.as_dict(stages.load(given, name)) == checked


def test_who_is_no_job_gets_everything_checked(monkeypatch):
    with pytest.raises(TwoFourError, match=r"evaluation.batch_size is 0"):
        stages.load('{"evaluation": {"batch_size": 0}}', "evaluate")
    monkeypatch.setenv(cli.TIED, cli.ANY_PARENT)  # nor does a file of a user's become checked
    path = ROOT / "tests" / "absent.yaml"
    with pytest.raises(TwoFourError, match="does not exist"):
        stages.load(str(path), "evaluate")


@pytest.mark.parametrize("module", MODULES)
def test_changed_module_counts_for_exactly_its_stages(module):
    """The hash of a stage is over the files of its closure, and nothing else."""
    counted = set()
    for name in stages.STAGES:
        program = codehash.SCRIPTS / f"{name}.py"
        roots = stages.STAGES[name].code or ((program,) if program.is_file() else ())
        if roots and name not in USERS and module in codehash.closure(*roots):
            counted.add(name)
    assert counted == MODULES[module]


@pytest.mark.parametrize("name", backends.NAMES)
def test_a_backend_counts_where_it_is_used(name):
    module = f"deploy.backends.{name}"
    other = "deploy.backends.openvino" if name != "openvino" else "deploy.backends.paddle"
    for stage in ("build", "evaluate", "benchmark"):
        program = codehash.SCRIPTS / f"{stage}.py"
        assert module in codehash.closure(program, module)
        assert other not in codehash.closure(program, module)
