import json
import math
import re

from twofour import config, stages
from twofour.system import sections
from twofour.system.errors import TwoFourError

import pytest
from conftest import ROOT


def error_of(value) -> str:
    with pytest.raises(TwoFourError) as caught:
        config.validated(value)
    return str(caught.value)


def test_defaults_are_the_published_recipe():
    train = config.validated({}).train
    assert (train.momentum, train.learning_rate, train.weight_decay) == (
        0.875,
        0.256,
        1 / 32768,
    )
    assert (train.warmup_epochs, train.label_smoothing, train.epochs) == (5, 0.1, 90)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": {"epoch": 3}}, "unknown key train.epoch; did you mean train.epochs?"),
        ({"epochs": 3}, "unknown key epochs; did you mean train.epochs?"),
        ({"epoch": 3}, "unknown key epoch; did you mean train.epochs?"),
        ({"data": {"epochs": 3}}, "unknown key data.epochs; did you mean train.epochs?"),
        (
            {"batch_size": 3},
            "unknown key batch_size; did you mean train.batch_size or evaluation.batch_size?",
        ),
        ({"train": {"data": {}}}, "unknown key train.data; did you mean data?"),
        ({"train.epochs": 3}, "unknown key train.epochs; write train: {epochs: …}"),
        ({"qqq": 3}, "unknown key qqq; known here: run, seed"),
        ({"trian": {}}, "unknown key trian; did you mean train?"),
        ({"train": {"epochs": 0}}, "train.epochs is 0, but must be a whole number at least 1"),
        ({"train": {"epochs": "3"}}, 'train.epochs is "3", but must be a whole number'),
        ({"train": 5}, "train is 5, but must be a mapping of keys"),
        ({"run": "../x"}, 'run is "../x", but must be a name'),
        ({"deploy": {"backends": ["tensort"]}}, "must be one of paddle, onnxruntime"),
        ({"train": {"learning_rate": math.nan}}, "train.learning_rate is nan"),
        ({"data": {"resize": 100}}, "data.resize (100) is below data.image_size (224)"),
        ({"data": {"crop_area": [0.9, 0.1]}}, "data.crop_area: the first number"),
        ({"train": {"epochs": 2}}, "train.warmup_epochs (5) is above train.epochs (2)"),
        ({"sparsity": {"exclude": ["stem.conv.wight"]}}, "did you mean stem.conv.weight?"),
        (
            {"sparsity": {"algorithm": "mask_3d"}},
            'sparsity.algorithm is "mask_3d", but must be one',
        ),
        ({"sparsity": {"algorithm": []}}, "or a list of 1 or more entries"),
        ({"sparsity": {"include": []}}, "sparsity.include is [], but must be a list of 1 or more"),
        ({"evaluation": {"tolerance": 0.1}}, "evaluation.tolerance is 0.1, but must be a mapping"),
        ({"evaluation": {"tolerance": {"fp61": 1}}}, "unknown key evaluation.tolerance.fp61"),
        ({"sparsity": {"choose": {"max_top1_drop": 0.3}}}, "raise sparsity.images to 334 or more"),
        ({"sparsity": {"choose": 3}}, "sparsity.choose is 3, but must be a mapping of keys"),
        ({"rivals": {"model": {}}}, "but must be a list of any number entries"),
        ({"rivals": [{"modle": {}}]}, "unknown key rivals.0.modle; did you mean"),
        ({"rivals": [{}]}, "rivals.0 lacks the key model"),
        (
            {"rivals": [{"model": {}}]},
            "rivals.0.model is empty; give it one of name, width, blocks",
        ),
        ({"rivals": [{"model": {"widht": 1}}]}, "unknown key rivals.0.model.widht"),
        ({"rivals": [{"model": {"width": 9}}]}, "rivals.0.model.width is 9, but must be"),
        ({"rivals": [{"model": {"width": 1}}]}, "rivals.0.model is the same network"),
        ({"rivals": [{"model": {"width": 0.5}}] * 2}, "which names something twice"),
        (
            {"rivals": [{"model": {"width": 0.5}}, {"model": {"width": 0.5, "name": "resnet50"}}]},
            "rivals.1.model is the same network as rivals.0",
        ),
        ([1], "the configuration must be a mapping"),
    ],
)
def test_message_names_key_value_and_remedy(given, message):
    text = error_of(given)
    assert message in text
    assert "\n" not in text


def test_numbers_with_an_exponent_need_no_point(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {weight_decay: 1e-4}")
    for source in (str(tmp_path / "a.yaml"), '{"train": {"weight_decay": 1e-4}}'):
        assert config.load(source).train.weight_decay == 1e-4


def test_files_and_command_line_overwrite_each_other_key_by_key(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("run: a\ntrain: {epochs: 3, batch_size: 8}\n")
    second.write_text("train: {epochs: 4}\n")
    entries = ["run=2026", 'train={"precision": "auto"}', "data={flip: false}"]
    entries.append("benchmark={batch_sizes: [1, 8]}")
    assert config.read(first, second, entries=entries) == {
        "run": "2026",
        "train": {"epochs": 4, "batch_size": 8, "precision": "auto"},
        "data": {"flip": False},
        "benchmark": {"batch_sizes": [1, 8]},
    }


@pytest.mark.parametrize(
    "name", ["2026_11", "0010", "1e5", "1:30", "2026-11-25", "0x1f", "yes", "1.50", "+3", ".5"]
)
def test_texts_stay_as_they_were_typed(name, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"run: {name}\ndata: {{root: {name}}}\n")
    value = config.read(path)
    assert value == {"run": name, "data": {"root": name}}
    assert config.read(path, entries=["run=x", f"run={name}"])["run"] == name


@pytest.mark.parametrize(
    ("typed", "value"),
    [("0010", 10), ("8", 8), ("1e2", 100), ("+3", 3), ("24.0", 24)],
)
def test_numbers_are_decimal(typed, value, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"train: {{batch_size: {typed}}}\n")
    assert config.load(str(path)).train.batch_size == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train: [1\n", "a.yaml, line 2, column 1: not valid YAML: "),
        (b"train:\n\tepochs: 3\n", "a.yaml, line 2, column 1: not valid YAML: "),
        (b"run: a\n run: b\n", "a.yaml, line 2, column 5: not valid YAML: "),
        (b"run: a\n---\nrun: b\n", "a.yaml, line 2, column 1: not valid YAML: "),
        (b"run: *x\n", "a.yaml, line 1, column 6: not valid YAML: "),
        (b"run: a\0b\n", "a.yaml: not valid YAML: "),
        (b"run: caf\xe9\n", "a.yaml, line 1: a character is not in UTF-8 (byte 0xe9"),
        (b"# a\n# \xfc\nrun: a\n", "a.yaml, line 2: a character is not in UTF-8"),
        (
            b"train: {epochs: 3}\nrun: a\ntrain: {batch_size: 8}\n",
            "a.yaml: train is given twice, in line 1, column 1 and in line 3, column 1",
        ),
        (
            b"train:\n  epochs: 3\n  epochs: 4\n",
            "a.yaml: train.epochs is given twice, in line 2, column 3 and in line 3, column 3",
        ),
        (b'{"run": "a", "run": "b"}', "a.yaml: run is given twice, in line 1, column 2"),
        (b"- 1\n", "the configuration must be a mapping of keys, not [1]"),
    ],
)
def test_malformed_files_are_named_with_the_place(content, message, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(TwoFourError, match=re.escape(message)) as caught:
        config.load(str(path))
    assert "\n" not in str(caught.value)


def test_home_and_variables_in_paths_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("SCRATCH", "/scratch")
    given = {"data": {"root": "~/images"}, "train": {"init": "${SCRATCH}/a.pdparams"}}
    given["hardware"] = {"environment": "$SCRATCH/env", "container": "docker://image"}
    found = config.validated(given)
    assert found.data.root == "/home/anna/images"
    assert found.train.init == "/scratch/a.pdparams"
    assert found.hardware.environment == "/scratch/env"
    assert found.hardware.container == "docker://image"


def test_a_byte_order_mark_is_no_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfrun: flowers\n")
    assert config.load(str(path)).run == "flowers"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TwoFourError, match=re.escape(f"{tmp_path}/none.yaml does not exist")):
        config.load(f"{tmp_path}/none.yaml")


def test_shipped_configs_are_valid():
    for path in (ROOT / "config").glob("*.yaml"):
        config.load(str(path))


IMAGENET = {
    "imagenet": (90, "amp_fp16", 8),
    "imagenet-50epochs": (50, "amp_fp16", 8),
    "imagenet-1gpu": (90, "amp_fp16", 1),
    "imagenet-tf32": (90, "tf32", 8),
    "imagenet-tf32-50epochs": (50, "tf32", 8),
    "imagenet-tf32-1gpu": (90, "tf32", 1),
}


def test_published_rows_differ_from_the_recipe_in_nothing_else():
    """All but epochs, precision and GPUs are the defaults, which are the recipe's values."""
    assert {path.stem for path in (ROOT / "config").glob("imagenet*.yaml")} == set(IMAGENET)
    defaults = sections.as_dict(config.validated({}))
    for name, (epochs, precision, gpus) in IMAGENET.items():
        given = sections.as_dict(config.load(str(ROOT / "config" / f"{name}.yaml")))
        assert given["run"] == name
        varied = {"epochs": epochs, "precision": precision, "layout": "NHWC"}
        assert given["train"] == {**defaults["train"], **varied}
        assert given["model"] == {**defaults["model"], "input_channels": 4}
        assert (given["hardware"]["device"], given["hardware"]["gpus"]) == ("gpu", gpus)
        assert given["data"]["source"] == "ilsvrc2012"
        assert given["data"]["exif"] == "ignore"
        same = set(defaults["data"]) - {"source", "root", "exif"}
        assert all(given["data"][key] == defaults["data"][key] for key in same)


def test_every_line_of_a_published_row_has_a_comment():
    for name in IMAGENET:
        lines = (ROOT / "config" / f"{name}.yaml").read_text().splitlines()
        bare = {line.strip(": ") for line in lines if line and "#" not in line}
        assert bare <= set(config.schema()["properties"])  # the names of the sections


def test_the_page_has_a_row_for_each_published_one():
    text = (ROOT / "docs" / "imagenet.md").read_text()
    for name in IMAGENET:
        assert f"| `config/{name}.yaml` |" in text


def test_whole_numbers_may_be_written_with_a_point():
    given = {
        "train": {"epochs": 24.0, "batch_size": "1e2", "learning_rate": 1.0},
        "data": {"train_size": [[1.0, 64.0]], "image_size": 64, "resize": 64},
        "benchmark": {"batch_sizes": [1.0, 8]},
        "hardware": {"threads": 2.0},
    }
    found = sections.as_dict(config.validated(given))
    numbers = [
        *(found["train"]["epochs"], found["train"]["batch_size"]),
        *(*found["data"]["train_size"][0], *found["benchmark"]["batch_sizes"]),
        found["hardware"]["threads"],
    ]
    assert numbers == [24, 100, 1, 64, 1, 8, 2]
    assert all(type(number) is int for number in numbers)
    assert type(found["train"]["learning_rate"]) is float
    with pytest.raises(TwoFourError, match=r"train\.epochs is 2\.5"):
        config.validated({"train": {"epochs": 2.5}})


# --- typed and strict ---


def test_a_stage_holds_what_it_declares_and_nothing_else():
    text = json.dumps({"train": {"epochs": 7}, "data": {"max_rejected": 0.5}})
    settings = stages.load(text, "train")
    assert settings.train.epochs == 7 and settings.data.image_size == 224
    for read in (
        lambda: settings.data.max_rejected,
        lambda: settings.sparsity,
        lambda: settings.benchmark.steps,
    ):
        with pytest.raises(sections.UndeclaredKeyError, match=r"twofour/stages\.py"):
            read()


def test_no_default_stands_in_for_a_key_that_was_not_handed_over():
    """The workflow passes on all that a stage declares, so no default is filled in."""
    whole = config.validated({"train": {"epochs": 7, "warmup_epochs": 1}})
    for name in stages.STAGES:
        handed = json.loads(stages.settings(name, whole))
        assert sections.as_dict(stages.load(json.dumps(handed), name)) == handed


def test_a_section_cannot_be_changed_and_has_no_other_keys():
    train = config.validated({}).train
    with pytest.raises(AttributeError):
        train.epochs = 3
    with pytest.raises(AttributeError, match="no key epoch"):
        _ = train.epoch
    assert not hasattr(train, "epoch")


def test_every_precision_of_a_backend_has_a_tolerance():
    from twofour.deploy import backends
    from twofour.deploy.settings import Tolerance

    assert set(sections.names(Tolerance)) == set(backends.PRECISIONS)
