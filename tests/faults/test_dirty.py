"""Dirty data: each kind of file is used, is rejected with a reason, or causes a clear error.

The training pipeline must be able to decode every file that is used. The table here is the same as
the one in docs/reliability.md.
"""

import csv
import io
import os
import shutil
from dataclasses import replace

from twofour import config
from twofour.data import dataset, lists
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from conftest import bound_by_permissions, make_images, program, snakemake
from PIL import Image

DATA = config.validated({"data": {"image_size": 32, "resize": 32}}).data
RNG = np.random.default_rng(0)


def picture(mode="RGB", size=(60, 40)):
    pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90°
    return encoded(picture(), "JPEG", exif=exif)


def sixteen_bit():
    pixels = RNG.integers(0, 1 << 16, (40, 60)).astype("uint16")
    return encoded(Image.fromarray(pixels), "PNG")


JPEG = encoded(picture(), "JPEG")

# name: (content, None if it is used, otherwise part of the reason)
FILES = {
    "truncated.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "zero.jpg": (b"", "empty file"),
    "really a png.jpg": (encoded(picture(), "PNG"), None),
    "html.jpg": (b"<!doctype html><html></html>", "not an image"),
    "notes.txt": (b"hello", "extension .txt"),
    "cmyk.jpg": (encoded(picture("CMYK"), "JPEG"), None),
    "grey.jpg": (encoded(picture("L"), "JPEG"), None),
    "progressive.jpg": (encoded(picture(), "JPEG", progressive=True), None),
    "palette.png": (encoded(picture("P"), "PNG"), None),
    "alpha.png": (encoded(picture("RGBA"), "PNG"), None),
    "grey alpha.png": (encoded(picture("LA"), "PNG"), None),
    "sixteen.png": (sixteen_bit(), None),
    "rotated.jpg": (rotated(), None),
    "one pixel.jpg": (encoded(picture(size=(1, 1)), "JPEG"), None),
    "thin.jpg": (encoded(picture(size=(300, 1)), "JPEG"), None),
    "two  spaces .jpg": (JPEG, None),
    "quote'\"$(x)`;&.jpg": (JPEG, None),
    "emoji 🎉 ünï.jpg": (JPEG, None),
    "line\nbreak.jpg": (JPEG, "line break"),
    "x" * 251 + ".jpg": (JPEG, None),
    ".hidden.jpg": (b"junk", "absent"),
}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """A dataset with one file of each kind: its prepared folder, and the reasons by file name."""
    base = tmp_path_factory.mktemp("dirty")
    root = make_images(base / "images")
    folder = root / "train" / "bright"
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content)
    (root / "train" / "beside.jpg").write_bytes(JPEG)  # beside the class folders
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.jpg").symlink_to(base / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    data = replace(DATA, max_rejected=0.5)
    dataset.prepare(str(root), str(base / "out"), data, workers=1)
    with (base / "out" / "rejected.csv").open(newline="", encoding="utf-8") as file:
        rejected = {os.path.basename(r["path"]): r["reason"] for r in csv.DictReader(file)}  # noqa: PTH119
    return base / "out", rejected


@pytest.mark.parametrize("name", FILES)
def test_outcome(dirty, name):
    out, rejected = dirty
    used = {p.rpartition("/")[2] for p in lists.read(out).train[0]}
    reason = FILES[name][1]
    if reason is None:
        assert name in used and name not in rejected
    elif reason == "absent":
        assert name not in used and name not in rejected
    else:
        assert name not in used and reason in rejected[name]


def test_links_pipes_and_files_beside_the_classes(dirty):
    out, rejected = dirty
    used = [p.rpartition("/")[2] for p in lists.read(out).train[0]]
    assert used.count("cmyk.jpg") == 1  # the loop of links is detected
    assert "beside.jpg" not in used
    assert "dangling.jpg" in rejected and "pipe.jpg" in rejected


def test_all_that_is_used_is_decoded_in_training(dirty):
    """DALI stops for good at a file that it cannot decode, so none may remain."""
    from twofour.data.loader import Loader, Pipeline

    paths, _, orientations = lists.read(dirty[0]).train
    for training in (True, False):
        pipeline = Pipeline(DATA, 3, 1, training=training, threads=1)
        loader = Loader(paths, pipeline, orientations=orientations)
        seen = [int(p) for _, positions in loader.epoch() for p in positions]
        assert sorted(seen) == list(range(len(paths)))


def test_huge_image_is_used(tmp_path):
    root = make_images(tmp_path / "images", count=3)
    Image.new("L", (10000, 10000), 99).save(root / "train" / "bright" / "huge.jpg")
    dataset.prepare(str(root), str(tmp_path / "out"), DATA, workers=1)
    assert any(p.endswith("huge.jpg") for p in lists.read(tmp_path / "out").train[0])


def test_unreadable_file_and_folder(tmp_path):
    root = make_images(tmp_path / "images", count=3)
    prefix = bound_by_permissions()
    victim = root / "train" / "bright" / "image 00.jpg"
    victim.chmod(0)
    arguments = ("--root", root, "--out", tmp_path / "out", "--workers", 1)
    loose = '{"data": {"max_rejected": 0.5}}'
    program("prepare_dataset.py", *arguments, "--config", loose, prefix=prefix)
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert f"{victim},cannot be read: Permission denied" in rejected
    (root / "train" / "bright").chmod(0)
    done = program("prepare_dataset.py", *arguments, check=False, prefix=prefix)
    (root / "train" / "bright").chmod(0o700)
    assert done.returncode == 1
    wanted = f"cannot read the folder {root / 'train' / 'bright'}: Permission denied"
    assert wanted in done.stderr and "Traceback" not in done.stderr


def test_empty_class_and_too_many_bad_files_are_errors(tmp_path):
    root = make_images(tmp_path / "images", count=3)
    for path in (root / "val" / "bright").iterdir():
        path.write_bytes(b"")
    with pytest.raises(TwoFourError, match=r"3 of 12 files cannot be used.*data\.max_rejected"):
        dataset.prepare(str(root), str(tmp_path / "out"), DATA, workers=1)
    with pytest.raises(TwoFourError, match="class 'bright' of val has no usable image left"):
        dataset.prepare(str(root), str(tmp_path / "out"), replace(DATA, max_rejected=1), workers=1)


@pytest.mark.parametrize("change", ["gone", "truncated", "emptied"])
def test_file_that_changes_after_the_dataset_stage(tmp_path, change):
    """Training stops with a sentence that names the file and says what to do."""
    root = make_images(tmp_path / "images", count=12)
    out = tmp_path / "dataset"
    dataset.prepare(str(root), str(out), DATA, workers=1)
    victim = root / "train" / "bright" / "image 03.jpg"
    content = victim.read_bytes()
    if change == "gone":
        victim.unlink()
    else:
        victim.write_bytes(content[: len(content) // 3] if change == "truncated" else b"")
    settings = (
        '{"data": {"image_size": 32, "resize": 32}, "model": {"width": 0.05, "blocks": [1,1,1,1]},'
        ' "train": {"epochs": 1, "warmup_epochs": 0, "batch_size": 4}, "hardware": {"threads": 1}}'
    )
    done = program(
        *("train.py", "--config", settings, "--data", out, "--out", tmp_path / "dense"), check=False
    )
    assert done.returncode == 1, done.stderr
    assert "an image cannot be read" in done.stderr and "image 03.jpg" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 2


def test_class_folder_with_every_awkward_character(tmp_path):
    root = make_images(
        tmp_path / "images", classes=("a b'\"$(touch x)`;&|", "ü 🎉 %s {0}"), count=3
    )
    config_text = (
        f"run: awkward\ndata: {{source: folder, root: {str(root)!r}, image_size: 32, resize: 32}}\n"
    )
    (tmp_path / "c.yaml").write_text(config_text, encoding="utf-8")
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    target = "results/awkward/dataset/dataset.json"
    snakemake(tmp_path, target, "--configfile", "c.yaml", "--cores", 1)
    found = lists.read(tmp_path / "results" / "awkward" / "dataset")
    assert found.classes == sorted(found.classes) and "ü 🎉 %s {0}" in found.classes
    assert not (tmp_path / "x").exists()
