"""Photographs whose EXIF orientation says how viewers turn them."""

import shutil
from dataclasses import replace

from twofour import config
from twofour.data import dataset, lists, loader
from twofour.data.loader import Loader, Pipeline
from twofour.system import hardware
from twofour.system.files import read_json

import numpy as np
import pytest
from PIL import Image, ImageOps

TAG = 0x0112
SIZE = 32
DATA = config.validated({"data": {"image_size": SIZE, "resize": SIZE}}).data
PLAIN = replace(DATA, flip=False, crop_area=[1.0, 1.0], crop_ratio=[1.0, 1.0])


def stored(upright, orientation, path):
    """Save a picture so that viewers, who obey the ``orientation``, show ``upright``."""
    for turn in range(1, 9):  # the inverse of a turn is one of the eight
        exif = Image.Exif()
        exif[TAG] = turn
        candidate = ImageOps.exif_transpose(with_exif(upright, exif))
        exif[TAG] = orientation
        if ImageOps.exif_transpose(with_exif(candidate, exif)) == upright:
            candidate.save(path, quality=95, exif=exif)
            return
    raise AssertionError(orientation)


def with_exif(image, exif):
    copy = image.copy()
    copy.getexif()[TAG] = exif[TAG]
    return copy


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder with a class of eight pictures that look the same, and one of noise."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(3)
    upright = Image.fromarray(
        np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    )
    for split in ("train", "val"):
        for name in ("alike", "noise"):
            (root / split / name).mkdir(parents=True)
        for orientation in range(1, 9):
            stored(upright, orientation, root / split / "alike" / f"{orientation}.jpg")
        noise = Image.fromarray(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8))
        noise.save(root / split / "noise" / "noise.png")
    return root, upright


def prepared(photographs, out, **data):
    summary = dataset.prepare(str(photographs[0]), str(out), replace(PLAIN, **data), workers=1)
    return lists.read(out), summary


def test_evaluation_sees_each_picture_as_a_viewer_shows_it(photographs, tmp_path):
    found, summary = prepared(photographs, tmp_path)
    assert summary["turned_by_exif"]["count"] == 14 and summary["turned_by_exif"]["applied"]
    machine = hardware.Machine("cpu", "", threads=1)
    batches = loader.for_evaluation(found.val, PLAIN, 3, 4, machine).epoch()
    images = np.concatenate([batch.copy() for batch, _ in batches])
    for picture in images[1:8]:
        assert np.abs(picture - images[0]).mean() < 0.1  # JPEG
    assert np.abs(images[8] - images[0]).mean() > 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_a_square_is_exact(orientation, tmp_path):
    rng = np.random.default_rng(orientation)
    square = Image.fromarray(rng.integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8))
    square.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[TAG] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(with_exif(square, exif)), np.float32)
    for training in (True, False):
        pipeline = Pipeline(PLAIN, 3, 1, training=training, threads=1)
        images = Loader(
            [str(tmp_path / "a.png")], pipeline, orientations=np.array([orientation], np.uint8)
        )
        ((batch, positions),) = images.epoch()
        mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (PLAIN.mean, PLAIN.std))
        seen = np.rint((batch[0] * std + mean) * 255).transpose(1, 2, 0)
        assert positions.tolist() == [0] and np.array_equal(seen, wanted)


def test_ignore_takes_the_pixels_as_they_are_stored(photographs, tmp_path):
    found, summary = prepared(photographs, tmp_path / "ignore", exif="ignore")
    assert set(found.train.orientations) == set(found.val.orientations) == {1}
    assert not summary["turned_by_exif"]["applied"]
    applied, other = prepared(photographs, tmp_path / "apply")
    assert applied.val.orientations.tolist() == [*range(1, 9), 1]
    assert summary["content_hash"] != other["content_hash"]  # other pictures, so another dataset
    content = read_json(tmp_path / "apply" / "content.json")
    assert content["content_hash"] == other["content_hash"]
    assert content["orientations"]["train"] == {str(i): i + 1 for i in range(1, 8)}


def test_pictures_without_a_usable_orientation_are_upright(photographs, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(photographs[0], root)
    exif = Image.Exif()
    for value in (0, 9):
        exif[TAG] = value
        Image.open(root / "val/noise/noise.png").save(root / f"val/noise/{value}.jpg", exif=exif)
    found, _ = prepared((root, None), tmp_path / "out")
    assert found.val.orientations.tolist() == [*range(1, 9), 1, 1, 1]


def test_a_resumed_loader_goes_on_with_turned_pictures(photographs, tmp_path):
    found, _ = prepared(photographs, tmp_path)
    pipeline = Pipeline(DATA, 3, 2, training=True, threads=1, seed=5)
    run = Loader(found.train.paths, pipeline, orientations=found.train.orientations)
    for _ in run.epoch():
        pass
    state = run.state()
    rest = [(x.copy(), p.copy()) for x, p in run.epoch()]
    resumed = Loader(found.train.paths, pipeline, state, found.train.orientations).epoch()
    for (x, p), (y, q) in zip(rest, resumed, strict=True):
        assert (x == y).all() and (p == q).all()
