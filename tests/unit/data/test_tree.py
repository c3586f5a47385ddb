"""Which folders are splits, classes or neither, and what counts as the state of the input."""

import os
import re
from dataclasses import replace

from twofour import config
from twofour.data import dataset, tree
from twofour.system.errors import TwoFourError

import pytest
from conftest import make_images, program

DATA = replace(config.validated({}).data, max_rejected=0.5)


def grow(root, *paths):
    """Make empty files; a path that ends in / is a folder."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).touch()
    return str(root)


def found(root):
    return {(e.split, e.label) for e in tree.scan(str(root))}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train/a/1.jpg", "train/b/2.jpg"], {("", "a"), ("", "b")}),
        (["a/1.jpg", "b/deep/2.jpg"], {("", "a"), ("", "b")}),
        (
            ["train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "val/b/4.jpg", "test/a/5.jpg"],
            {("train", "a"), ("train", "b"), ("val", "a"), ("val", "b")},
        ),
        # classes of these names
        (["bus/1.jpg", "car/2.jpg", "train/3.jpg"], {("", "bus"), ("", "car"), ("", "train")}),
        (["valid/1.jpg", "invalid/2.jpg"], {("", "valid"), ("", "invalid")}),
        # litter
        (
            ["a/1.jpg", "b/2.jpg", ".DS_Store", "a/Thumbs.db", "__MACOSX/x/._1.jpg", "@eaDir/y"],
            {("", "a"), ("", "b")},
        ),
    ],
)
def test_trees_that_are_clear(tmp_path, files, expected):
    grow(tmp_path, *files)
    assert found(tmp_path) == expected


TWO = ("{}/a/1.jpg", "{}/b/2.jpg")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        *(
            ([f.format(name) for name in names for f in TWO], message)
            for names, message in [
                (("training", "validation"), "rename training to train and validation to val"),
                (("Train", "Val"), "rename Train to train and Val to val"),
                (("TRAIN", "TEST"), "rename TRAIN to train and TEST to val"),
                (("train", "valid"), "rename valid to val"),
                (("train", "test"), "rename test to val"),
                (("train", "valid", "test"), "rename test or valid to val"),
                (("train_set", "val-set"), "rename train_set to train and val-set to val"),
                (("Training Images", "other"), "rename Training Images to train"),
                (("val", "other"), "a folder val but no folder train beside it"),
            ]
        ),
        (["training/1.jpg", "validation/2.jpg"], "are they training and validation sets?"),
        (["train/1.jpg", "test/2.jpg"], "are they training and validation sets?"),
        (
            ["train/a/1.jpg", "train/b/2.jpg", "val/1.jpg", "val/2.jpg"],
            "val, but 2 files: move them into one folder for each class; for ImageNet",
        ),
        (["1.jpg", "2.jpg"], "but 2 files: move them into one folder for each class"),
        (["animals/cat/1.jpg", "animals/dog/2.jpg"], "if cat and dog are classes, name "),
        (["cat/1.jpg"], "only one class (cat), and a classifier needs two"),
        (["a/1.jpg", "b/.DS_Store"], "class 'b' is empty"),
    ],
)
def test_trees_that_are_not(tmp_path, files, message):
    root = grow(tmp_path, *files)
    with pytest.raises(TwoFourError, match=re.escape(message)):
        tree.scan(root)


def test_a_missing_folder_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TwoFourError, match=re.escape(f"{tmp_path}/nowhere does not exist")):
        tree.scan("nowhere")


def test_classes_that_may_lie_deeper(tmp_path):
    grow(tmp_path / "a", "animals/cat/1.jpg", "animals/dog/2.jpg", "plants/oak/3", "plants/fir/4")
    assert tree.nested(tree.scan(str(tmp_path / "a"))) == [
        *("animals/cat", "animals/dog", "plants/fir", "plants/oak")
    ]
    # Parts that several classes have, and files beside the folders, are subfolders of classes.
    grow(tmp_path / "b", "cat/day/1.jpg", "cat/night/2.jpg", "dog/day/3.jpg", "dog/night/4.jpg")
    grow(tmp_path / "c", "cat/1.jpg", "cat/x/2.jpg", "dog/y/3.jpg", "dog/z/4.jpg")
    for name in ("b", "c"):
        assert tree.nested(tree.scan(str(tmp_path / name))) == []


def test_state_is_of_what_the_scan_uses(tmp_path):
    root = tmp_path / "images"
    grow(root, "train/a/1.jpg", "train/b/2.jpg")
    before = tree.state(str(root))
    grow(root, ".DS_Store", "notes.txt", "train/notes.txt", "train/a/Thumbs.db", "other/c/5.jpg")
    assert tree.state(str(root)) == before
    (root / "train" / "a" / "1.jpg").write_bytes(b"x")
    changed = tree.state(str(root))
    assert changed != before
    grow(root, "train/a/3.jpg")
    assert tree.state(str(root)) not in (before, changed)


def test_state_is_the_same_by_one_thread_and_by_many(tmp_path, monkeypatch):
    root = tmp_path / "images"
    grow(root, *(f"{label}/{number}.jpg" for label in "abc" for number in range(5)))
    (root / "b" / "3.jpg").write_bytes(b"x")
    monkeypatch.setattr(tree, "_AT_A_TIME", 2)
    found = set()
    for quick in (0, 3600):  # no file system is quick enough; every one is
        monkeypatch.setattr(tree, "_QUICK_S", quick)
        found.add(tree.state(str(root)))
    assert len(found) == 1


def test_images_lie_apart_from_results(tmp_path):
    (tmp_path / "work" / "images").mkdir(parents=True)
    tree.require_apart(str(tmp_path / "work" / "images"), [tmp_path / "work"])
    for root in (tmp_path, tmp_path / "work"):
        with pytest.raises(TwoFourError, match="move the images to a folder of their own"):
            tree.require_apart(str(root), [tmp_path / "work" / "results" / "x"])


def test_names_that_are_not_utf8_are_rejected_rows(tmp_path):
    root = make_images(tmp_path / "images")
    source = (root / "train" / "bright" / "image 00.jpg").read_bytes()
    (root / "train" / "bright" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(source)
    summary = dataset.prepare(str(root), str(tmp_path / "out"), DATA, workers=1)
    assert summary["rejected"] == 1
    assert "caf\\xe9.jpg,file name is not valid UTF-8" in (
        tmp_path / "out" / "rejected.csv"
    ).read_text(encoding="utf-8")


def test_a_class_that_is_not_utf8_is_named(tmp_path):
    root = make_images(tmp_path / "images", splits=("train",))
    folder = root / "train" / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    source = (root / "train" / "bright" / "image 00.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(source)
    arguments = ["--root", root, "--out", tmp_path / "out", "--log", tmp_path / "log"]
    done = program(
        "prepare_dataset.py", "--config", '{"data": {"max_rejected": 0.5}}', *arguments, check=False
    )
    assert done.returncode == 1
    assert "class 'caf\\xe9' has no usable image left" in done.stderr.replace("\\\\", "\\")
    assert "Traceback" not in done.stderr


def test_classes_and_their_counts_are_printed(tmp_path):
    root = make_images(tmp_path / "images")
    done = program("prepare_dataset.py", "--root", root, "--out", tmp_path / "out")
    assert re.search(r"^  bright +20 train +20 val$", done.stderr, re.M)
    assert re.search(r"^  dark ü +20 train +20 val$", done.stderr, re.M)
