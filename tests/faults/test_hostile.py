"""Hostile input: values that would run in a shell, files that would run code, random nonsense."""

import contextlib
import json
import pickle
import string

from twofour import config
from twofour.data import lists
from twofour.network import weights
from twofour.sparse import check, masks
from twofour.system.errors import TwoFourError
from twofour.train import checkpoint

import numpy as np
import pytest
import yaml
from conftest import make_images, program, snakemake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INJECTIONS = [
    'x"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "a b; touch pwned",
    "'; touch pwned; '",
    "{output}",
    "x\ntouch pwned",
]


def strings(node, prefix=""):
    """Keys of the schema that take text."""
    for name, child in node["properties"].items():
        key = f"{prefix}{name}"
        if "properties" in child:
            yield from strings(child, f"{key}.")
        elif "string" in np.atleast_1d(child.get("type", "")):
            yield key, False
        elif child.get("type") == "array" and child["items"].get("type") == "string":
            yield key, True


def test_the_keys_that_take_text_are_known():
    assert dict(strings(config.schema())) == {
        "run": False,
        "data.root": False,
        "dense.weights": False,
        "train.init": False,
        "release.license": False,
        "hardware.environment": False,
        "hardware.container": False,
        "sparsity.include": True,
        "sparsity.exclude": True,
        "quantization.exclude": True,
    }


@pytest.mark.parametrize("value", INJECTIONS)
@pytest.mark.parametrize(("key", "is_list"), strings(config.schema()))
def test_no_value_reaches_a_shell(tmp_path, key, is_list, value):
    """The value is either rejected in one sentence or taken as plain text."""
    root = tmp_path / (value if key == "data.root" else "images")
    make_images(root, count=2)
    settings_ = {
        "run": "r",
        "data": {"source": "folder", "root": str(root), "image_size": 32, "resize": 32},
    }
    section, _, name = key.partition(".")
    if key != "data.root":
        given_value = [value] if is_list else value
        if name:
            settings_.setdefault(section, {})[name] = given_value
        else:
            settings_[section] = given_value
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings_))
    target = "results/r/dataset/dataset.json"
    done = snakemake(tmp_path, target, "--configfile", "c.yaml", "--cores", 1, check=False)
    said = done.stdout + done.stderr
    assert not list(tmp_path.rglob("pwned"))
    assert "Traceback" not in said
    if key == "data.root" and "\n" not in value:
        assert done.returncode == 0, said
    else:
        assert done.returncode != 0 and f"configuration: {key}" in said


class Evil:
    def __reduce__(self):
        return (exec, ("open('pwned', 'w')",))


@pytest.mark.parametrize("read", [weights.load, masks.load, checkpoint.load, check.read])
def test_files_of_strangers_run_nothing(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.pdparams"
    hidden = np.empty(1, dtype=object)
    hidden[0] = Evil()
    for content in (pickle.dumps({"w": Evil()}), pickle.dumps({"w": hidden}, protocol=4)):
        path.write_bytes(content)
        with pytest.raises(TwoFourError, match=r"m\.pdparams"):
            read(path)
    with path.open("wb") as file:
        np.savez(file, w=hidden)  # an archive with a pickle inside
    with pytest.raises(TwoFourError, match=r"m\.pdparams"):
        read(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.pdmodel"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04", b"{}"])
def test_corrupt_models_give_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "model.pdiparams").write_bytes(content)
    done = program("check.py", tmp_path / name, check=False)
    assert done.returncode == 1
    assert name in done.stderr and "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


# --- fuzzing: only our own error class may be raised ---

FUZZ = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
KEYS = st.sampled_from(
    [*config.schema()["properties"], *config.schema()["properties"]["train"]["properties"], "x"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS | st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@FUZZ
@given(VALUES)
def test_any_value_is_a_config_or_our_error(value):
    with contextlib.suppress(TwoFourError):
        config.validated(value)


@FUZZ
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_sections_are_a_config_or_our_error(value):
    with contextlib.suppress(TwoFourError):
        assert config.validated(config.validated(value))


def one_key():
    """(key, anything) for every key of the schema."""
    known = []
    for name, node in config.schema()["properties"].items():
        known += [(name, key) for key in node.get("properties", {})] or [(name, None)]
    return st.tuples(st.sampled_from(known), VALUES)


@FUZZ
@given(one_key())
def test_any_value_of_any_key_is_taken_or_our_error(case):
    (section, key), value = case
    given_config = {section: {key: value}} if key else {section: value}
    with contextlib.suppress(TwoFourError):
        config.validated(given_config)
        json.dumps(given_config)


@FUZZ
@given(st.text(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"%@` \n\t" + string.digits))
def test_any_text_is_a_config_file_or_our_error(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with contextlib.suppress(TwoFourError):
        config.load(str(tmp_path / "c.yaml"))
    with contextlib.suppress(TwoFourError):
        config.load("{" + text)


@FUZZ
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_file_list_or_our_error(tmp_path, content):
    (tmp_path / "l.txt").write_bytes(content)
    with contextlib.suppress(TwoFourError):
        paths, labels = lists.read_list(tmp_path / "l.txt")
        assert len(paths) == len(labels) > 0 and all(paths) and (labels >= 0).all()


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_are_weights_masks_or_a_checkpoint_or_our_error(tmp_path, content):
    path = tmp_path / "m.pdparams"
    for prefix in (b"", b"PK\x03\x04", b"\x80\x02}"):
        path.write_bytes(prefix + content)
        for read in (weights.load, masks.load, checkpoint.load):
            with contextlib.suppress(TwoFourError):
                read(path)
