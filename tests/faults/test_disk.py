"""Full, read-only and unwritable disks: one sentence, nothing half-written, and a rerun succeeds.

A small tmpfs stands in for the disk; mounting it needs root.
"""

import json
import os
import shutil
import subprocess

from twofour.system import files
from twofour.system.errors import TwoFourError

import pytest
from conftest import TINY, bound_by_permissions, merged, program


def mounted(path, *options):
    done = subprocess.run(["mount", *options, str(path)], capture_output=True, text=True)
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A disk of 2 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or not mounted(path, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        pytest.skip("a tmpfs cannot be mounted here (it needs root)")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk, leave=8192):
    """Fill the disk up to ``leave`` bytes."""
    found = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * max(0, found.f_bavail * found.f_frsize - leave))


def named(disk):
    """Files under final names, but not metrics.csv, whose rows of finished epochs are complete."""
    known = ("filler", ".lock", "metrics.csv")
    return [p for p in disk.rglob("*") if p.is_file() and p.name not in known]


def fails_in_a_sentence(done, disk):
    assert done.returncode == 1, done.stderr
    assert "the disk is full" in done.stderr and str(disk) in done.stderr
    assert "make space and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert not named(disk)


@pytest.fixture(scope="module")
def made(prepared, tmp_path_factory):
    """Every stage's artifacts, made on a disk with space."""
    out = tmp_path_factory.mktemp("made")
    stage(prepared, out, out, "train")
    for name in ("prune", "export", "build", "reference", "evaluate"):
        stage(prepared, out, out, name)
    return out


def stage(prepared, made, out, name, check=True, prefix=()):
    """Run one program on the artifacts in ``made``, with ``out`` for its results."""
    config = ("--config", json.dumps(merged(TINY, {"sparsity": {"require_learnt": False}})))
    weights = ("--weights", made / "dense" / "model.pdparams")
    model = ("--model", made / "export")
    commands = {
        "dataset": ("--root", made.parent, "--workers", 1, "--out", out / "dataset"),
        "train": ("--data", prepared, "--out", out / "dense"),
        "prune": (*weights, "--out", out / "pruned"),
        "permute": (*weights, "--out", out / "permuted"),
        "export": (*weights, "--classes", prepared / "classes.txt", "--out", out / "export"),
        "build": (*model, "--backend", "onnxruntime", "--out", out / "build"),
        "evaluate": (
            *("--data", prepared, *model, "--build", made / "build"),
            *("--reference", made / "reference.npz", "--out", out / "evaluation.json"),
            *("--predictions", out / "predictions.npz"),
        ),
        "reference": ("--data", prepared, *weights, "--out", out / "reference.npz"),
    }
    return program(f"{name}.py", *config, *commands[name], check=check, prefix=prefix)


@pytest.mark.parametrize("name", ["train", "prune", "permute", "export"])
def test_full_disk_stops_the_stage_and_it_goes_on_after_space_is_made(prepared, made, disk, name):
    fill(disk)
    fails_in_a_sentence(stage(prepared, made, disk, name, check=False), disk)
    (disk / "filler").unlink()
    shutil.rmtree(disk / "dense", ignore_errors=True)
    mounted(disk, "-o", "remount,size=64m")
    stage(prepared, made, disk, name)
    folder = {"train": "dense", "prune": "pruned", "export": "export"}.get(name)
    for path in (made / folder).glob("model*") if folder else []:
        assert (disk / folder / path.name).read_bytes() == path.read_bytes()
    assert not list(disk.rglob(".tmp-*"))


@pytest.mark.parametrize("name", ["build", "reference", "evaluate"])
def test_small_files_do_not_fit_either(prepared, made, disk, name):
    fill(disk, leave=0)
    fails_in_a_sentence(stage(prepared, made, disk, name, check=False), disk)


def test_disk_that_fills_during_training_keeps_the_last_checkpoint(prepared, made, disk):
    """There is space for one checkpoint of about 1 MB but not for a second one beside it."""
    done = stage(prepared, made, disk, "train", check=False)
    assert done.returncode == 1 and "the disk is full" in done.stderr
    assert len(list(disk.rglob("step*.npz"))) == 1
    mounted(disk, "-o", "remount,size=64m")
    done = stage(prepared, made, disk, "train")
    assert "resuming at epoch" in done.stderr
    weights = (disk / "dense" / "model.pdparams").read_bytes()
    assert weights == (made / "dense" / "model.pdparams").read_bytes()


def test_the_needed_space_is_named_before_anything_is_written(disk):
    wanted = pytest.raises(TwoFourError, match=r"needs 5000\.0 MB, and 2\.\d MB are free")
    with wanted, files.atomic(disk / "big", needs=5_000_000_000):
        raise AssertionError("not reached")
    assert not list(disk.iterdir())


def test_read_only_disk(prepared, made, disk):
    assert mounted(disk, "-o", "remount,ro")
    for name in ("train", "prune", "export", "evaluate"):
        done = stage(prepared, made, disk, name, check=False)
        assert done.returncode == 1
        assert f"cannot write {disk}" in done.stderr and "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["train", "prune", "export", "evaluate"])
def test_missing_permission(prepared, made, tmp_path, name):
    prefix = bound_by_permissions()
    tmp_path.chmod(0o500)
    done = stage(prepared, made, tmp_path, name, check=False, prefix=prefix)
    tmp_path.chmod(0o700)
    assert done.returncode == 1
    assert f"cannot write {tmp_path}" in done.stderr and "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_where_a_folder_should_be(prepared, made, tmp_path):
    (tmp_path / "pruned").write_text("")
    done = stage(prepared, made, tmp_path, "prune", check=False)
    assert done.returncode == 1
    assert f"cannot write {tmp_path / 'pruned'}" in done.stderr and "Traceback" not in done.stderr
