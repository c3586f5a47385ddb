"""ImageNet's archives become a checked tree of images, whatever is wrong with them."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

from twofour.data import imagenet, lists
from twofour.system import lock
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from archives import NUMBERS, TRAIN, TRUTH, WORDS, deliver, jpeg, kit, tar, train_images
from conftest import SCRIPTS, bound_by_permissions, program


def test_archives_become_a_tree_with_readable_names(tmp_path):
    root = deliver(tmp_path / "ilsvrc")
    program("unpack_imagenet.py", "--root", root, "--workers", 2, "--out", tmp_path / "i.json")
    for wnid in WORDS:
        for name, content in train_images(wnid).items():
            assert (root / "images" / "train" / wnid / name).read_bytes() == content
    for index, number in enumerate(TRUTH, start=1):
        path = root / "images" / "val" / NUMBERS[number] / f"ILSVRC2012_val_{index:08d}.JPEG"
        assert path.read_bytes() == jpeg(2000 + index)
    program("prepare_dataset.py", "--imagenet", tmp_path / "i.json", "--out", tmp_path / "data")
    found = lists.read(tmp_path / "data")
    assert found.classes == [f"{w} {WORDS[w]}" for w in sorted(WORDS)]
    assert np.bincount(found.train[1]).tolist() == [TRAIN[w] for w in sorted(WORDS)]
    assert np.bincount(found.val[1]).tolist() == [2, 2, 3]


def test_second_time_nothing_is_read_again(tmp_path, monkeypatch):
    root = deliver(tmp_path / "ilsvrc")
    first = imagenet.prepare(str(root), 1)
    monkeypatch.setattr(imagenet, "_members", None)
    assert imagenet.prepare(str(root), 1) == first


def test_a_tree_that_was_changed_is_noticed(tmp_path):
    root = deliver(tmp_path / "ilsvrc")
    imagenet.prepare(str(root), 1)
    image = next((root / "images" / "val" / "n01443537").glob("*.JPEG"))
    content = image.read_bytes()
    image.unlink()
    imagenet.prepare(str(root), 1)
    assert image.read_bytes() == content
    extra = root / "images" / "train" / "n01440764" / "holiday.JPEG"
    extra.write_bytes(content)
    with pytest.raises(TwoFourError, match=r"n01440764 holds 6 images, not 5; remove what"):
        imagenet.prepare(str(root), 1)
    extra.unlink()
    for damage in ("", "{", "[]"):  # as a crash may leave it
        (root / "images" / imagenet.DONE).write_text(damage)
        imagenet.prepare(str(root), 1)


def test_finished_extraction_on_a_read_only_disk(tmp_path):
    root = deliver(tmp_path / "ilsvrc")
    imagenet.prepare(str(root), 1)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for path in [*folders, root / "images" / lock.NAME]:
        path.chmod(0o555)
    out = tmp_path / "i.json"
    prefix = bound_by_permissions()
    try:
        program("unpack_imagenet.py", "--root", root, "--out", out, prefix=prefix)
    finally:
        for path in folders:
            path.chmod(0o755)


def test_interrupted_extraction_goes_on_where_it_was(tmp_path):
    root = deliver(tmp_path / "ilsvrc")
    imagenet.prepare(str(root), 1)
    (root / "images" / imagenet.DONE).unlink()
    folder = root / "images" / "train" / "n01440764"
    names = sorted(path.name for path in folder.iterdir())
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(b"half")
    (folder / f".tmp-{names[2]}").write_bytes(b"what a killed worker leaves")
    os.utime(folder / names[3], (1, 1))
    imagenet.prepare(str(root), 1)
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names[:2]:
        assert (folder / name).read_bytes() == train_images("n01440764")[name]
    assert (folder / names[3]).stat().st_mtime == 1  # it was already there, and was left alone


def test_killed_extraction_goes_on(tmp_path):
    """A real one, killed at several moments, ends with the result of an undisturbed one."""
    root = deliver(tmp_path / "ilsvrc")
    whole = deliver(tmp_path / "whole")
    imagenet.prepare(str(whole), 1)
    command = [sys.executable, SCRIPTS / "unpack_imagenet.py", "--root", root, "--workers", "1"]
    command = [*map(str, command), "--out", str(tmp_path / "i.json")]
    for seconds in (0.2, 0.35, 0.5):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        running.send_signal(signal.SIGKILL)
        running.wait()
    subprocess.run(command, check=True)

    def content(folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted((folder / "images").rglob("*.JPEG"))
        }

    assert content(root) == content(whole)
    assert len(content(root)) == sum(TRAIN.values()) + len(TRUTH)


@pytest.mark.parametrize("name", ["../evil.JPEG", "/tmp/evil.JPEG", "a/b.JPEG", "..", "a\\b.JPEG"])
@pytest.mark.parametrize("where", ["train", "inner", "val"])
def test_members_that_leave_the_folder_are_refused(tmp_path, name, where):
    bad = {name: b"x"}
    inner = {f"{w}.tar": tar(train_images(w)) for w in WORDS}
    if where == "inner":
        inner["n01443537.tar"] = tar({**train_images("n01443537"), **bad})
    contents = {"train": {"train": tar({**inner, **bad})}, "inner": {"train": tar(inner)}}
    root = deliver(tmp_path / "ilsvrc", **contents.get(where, {"val": tar(bad)}))
    with pytest.raises(TwoFourError, match="not a plain file in its top folder"):
        imagenet.prepare(str(root), 1)
    assert not list(tmp_path.rglob("evil*"))


def test_links_are_refused(tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        link = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    root = deliver(tmp_path / "ilsvrc", val=content.getvalue())
    with pytest.raises(TwoFourError, match="not a plain file"):
        imagenet.prepare(str(root), 1)


def test_wrong_numbers_and_damage_are_named(tmp_path):
    fewer = {w: dict(list(train_images(w).items())[:-1]) for w in WORDS}
    cut = tar({f"{w}.tar": tar(train_images(w)) for w in WORDS})
    cases = {
        "holds 4 images of n01440764 .tench, Tinca tinca., but the development kit says 5": {
            "train": tar({f"{w}.tar": tar(fewer[w]) for w in WORDS})
        },
        "lacks 1 of 3 classes, such as n01484850": {
            "train": tar({f"{w}.tar": tar(train_images(w)) for w in list(WORDS)[:2]})
        },
        "which is not a class of the development kit": {"train": tar({"n99.tar": tar({})})},
        "holds 1 images, but the development kit has labels for 7": {
            "val": tar({"ILSVRC2012_val_00000001.JPEG": b"x"})
        },
        "train.tar is damaged": {"train": cut[: len(cut) // 2]},
        "development kit .* is damaged|cannot read the development kit": {"kit": b"no kit"},
        "but not ILSVRC2012_devkit": {"kit": None},
        "but not ILSVRC2012_img_val": {"val": None},
    }
    for number, (message, contents) in enumerate(cases.items()):
        root = deliver(tmp_path / str(number), **contents)
        with pytest.raises(TwoFourError, match=message):
            imagenet.prepare(str(root), 2)


def test_a_repeated_member_does_not_hide_a_missing_one(tmp_path):
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 1, 2, 3, 4, 5, 6)]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    root = deliver(tmp_path / "ilsvrc", val=content.getvalue())
    with pytest.raises(TwoFourError, match=r"holds ILSVRC2012_val_00000001\.JPEG twice"):
        imagenet.prepare(str(root), 1)


def test_full_disk_is_told_beforehand(tmp_path, monkeypatch):
    root = deliver(tmp_path / "ilsvrc")
    real = os.statvfs(tmp_path)
    tight = type("Disk", (), {"f_bavail": 1, "f_frsize": 512, "f_files": 0, "f_favail": 0})
    monkeypatch.setattr(os, "statvfs", lambda path: tight)
    with pytest.raises(TwoFourError, match=r"needs 0\.0 GB more in .*images, and 0\.0 GB are free"):
        imagenet.prepare(str(root), 1)
    few = type("Disk", (), {"f_bavail": real.f_bavail, "f_frsize": 512, "f_files": 9})
    few.f_favail = 3
    monkeypatch.setattr(os, "statvfs", lambda path: few)
    with pytest.raises(TwoFourError, match=r"makes 22 more files .* can hold only 3 more"):
        imagenet.prepare(str(root), 1)
    assert not list((root / "images").rglob("*.JPEG"))


@pytest.mark.parametrize("flat", [False, True])
def test_extracted_tree_with_and_without_class_folders(tmp_path, flat):
    root = deliver(tmp_path / "ilsvrc")
    imagenet.prepare(str(root), 1)
    tree = root / "images"
    if flat:
        for path in sorted((tree / "val").rglob("*.JPEG")):
            path.rename(tree / "val" / path.name)
        for folder in [p for p in (tree / "val").iterdir() if p.is_dir()]:
            folder.rmdir()
        with pytest.raises(
            TwoFourError, match=r"has no class folders, so .* put ILSVRC2012_devkit"
        ):
            imagenet.prepare(str(tree), 1)
        (tree / imagenet.KIT_TAR).write_bytes(kit())
    found = imagenet.prepare(str(tree), 1)
    (tmp_path / "i.json").write_text(json.dumps(found))
    program("prepare_dataset.py", "--imagenet", tmp_path / "i.json", "--out", tmp_path / "data")
    paths, labels, _ = lists.read(tmp_path / "data").val
    order = sorted(WORDS)
    for path, label in zip(paths, labels):
        number = int(path[-13:-5])
        assert order[label] == NUMBERS[TRUTH[number - 1]]
    assert lists.read(tmp_path / "data").classes[0].startswith("n01440764")


def test_neither_archives_nor_tree_is_a_sentence(tmp_path):
    done = program(
        *("unpack_imagenet.py", "--root", tmp_path, "--out", tmp_path / "i.json"), check=False
    )
    assert done.returncode == 1
    assert "holds neither ILSVRC2012_img_train.tar nor a folder train" in done.stderr
