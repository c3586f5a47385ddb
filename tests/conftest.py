"""Shared by the tests: a small dataset, a small configuration, programs run as a user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from twofour import config
from twofour.system import hardware, paddle_versions

import numpy as np
import pytest
from PIL import Image

os.environ.update(paddle_versions.FLAGS)  # for tests that import paddle themselves
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # programs start faster with what is compiled

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"

# Its two classes differ in brightness: learnt in an epoch or two.
TINY = {
    "data": {
        "source": "folder",
        "image_size": 32,
        "resize": 32,
        "crop_area": [0.6, 1.0],
        "flip": False,
    },
    "model": {"name": "resnet50", "width": 0.125, "blocks": [1, 1, 1, 1]},
    "train": {"epochs": 2, "batch_size": 8, "learning_rate": 0.8, "warmup_epochs": 0.5},
    "evaluation": {"batch_size": 7},
    "benchmark": {"batch_sizes": [1, 5], "warmup": 1, "steps": 5},
    "hardware": {"threads": 1, "device": "cpu"},
}


def merged(base: dict, *changes: dict) -> dict:
    """``base`` with nested ``changes`` merged into it."""
    result = json.loads(json.dumps(base))
    for change in changes:
        for section, value in change.items():
            if isinstance(value, dict) and isinstance(result.get(section), dict):
                result[section].update(value)
            else:
                result[section] = value
    return result


def make_images(
    root: Path, splits=("train", "val"), classes=("bright", "dark ü"), count=20
) -> Path:
    """An ImageFolder of random JPEG files whose class shows in their brightness."""
    rng = np.random.default_rng(3)
    for split in splits:
        for index, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                centre = 180 if index == 0 else 70
                pixels = np.clip(rng.normal(centre, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"image {number:02d}.jpg", quality=95)
    return root


def program(
    name: str, *arguments, check: bool = True, prefix: tuple = (), **options
) -> subprocess.CompletedProcess:
    """Run a program of workflow/scripts; with ``check``, fail the test if the program fails."""
    command = [*prefix, sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


def bound_by_permissions() -> tuple:
    """A command prefix that makes permissions apply, even if root runs the tests."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"]).returncode != 0:
        pytest.skip("root may do everything, and setpriv cannot take that away here")
    return prefix


def snakemake(
    folder: Path,
    *arguments,
    check: bool = True,
    path: Path | None = None,
    package: Path | None = None,
) -> subprocess.CompletedProcess:
    """Run the workflow in ``folder``.

    It looks for commands in the folder ``path`` first, and for the package twofour in ``package``.
    """
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile"]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
            **({"PYTHONPATH": str(package)} if package else {}),
        },
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def named_rules(said: str) -> set[str]:
    """Rules whose jobs ran or would run, by our lines or by Snakemake's blocks."""
    ours = r"\d\d:\d\d:\d\d–\d\d:\d\d:\d\d +[\d.:]+ [sh]  (\w+)|(\w+)[^:\n]*: (?:its|what|it) "
    found = re.findall(rf"^(?:{ours}|\s*(?:local)?(?:rule|checkpoint) (\w+):)", said, re.M)
    return {name for names in found for name in names if name} - {"all"}


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    return make_images(tmp_path_factory.mktemp("images") / "my images")


@pytest.fixture(scope="session")
def prepared(images, tmp_path_factory) -> Path:
    """The dataset stage's artifacts of the small dataset."""
    out = tmp_path_factory.mktemp("dataset")
    program("prepare_dataset.py", "--root", images, "--out", out, "--workers", 1)
    return out


@pytest.fixture(scope="session")
def dense(prepared, tmp_path_factory) -> Path:
    """The results of a training of the tiny configuration."""
    out = tmp_path_factory.mktemp("dense")
    program("train.py", "--config", json.dumps(TINY), "--data", prepared, "--out", out)
    return out


@pytest.fixture(scope="session")
def pruned(dense, tmp_path_factory) -> Path:
    """The same network, pruned."""
    out = tmp_path_factory.mktemp("pruned")
    weights = dense / "model.pdparams"
    program("prune.py", "--config", json.dumps(TINY), "--weights", weights, "--out", out)
    return out


@pytest.fixture
def tiny() -> dict:
    return config.validated(TINY)


@pytest.fixture(scope="session", params=["resnet18", "resnet50"])
def exported(request, tmp_path_factory) -> Path:
    """An exported, calibrated and quantised network with identity and shortcut blocks."""
    import quantised

    return quantised.export(tmp_path_factory.mktemp("model"), request.param, 0.25, [1, 2, 1, 2])


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    here = [item for item in items if "gpu" in item.path.relative_to(ROOT).parts]
    if here and not hardware.gpus():
        for item in here:
            item.add_marker(pytest.mark.skip(reason="nvidia-smi finds no GPU on this machine"))
