import csv
import shutil
from dataclasses import replace

from twofour import config
from twofour.data import dataset, lists
from twofour.data.images import inspect
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from conftest import make_images, program
from nvidia.dali import fn, pipeline_def
from PIL import Image

DATA = config.validated({}).data


def prepare(root, out, **data):
    return dataset.prepare(str(root), str(out), replace(DATA, **data), workers=1)


def test_lists_classes_and_counts(images, prepared):
    found = lists.read(prepared)
    assert found.classes == ["bright", "dark ü"]
    for split in (found.train, found.val):
        assert len(split[0]) == 40
        assert split[0] == sorted(split[0])
        assert np.bincount(split[1]).tolist() == [20, 20]


def test_dali_reads_the_list_with_spaces_and_umlauts(prepared):
    @pipeline_def
    def reader():
        encoded, label = fn.readers.file(file_list=str(prepared / "val.txt"))
        return encoded, label

    pipeline = reader(batch_size=40, num_threads=1, device_id=None)
    pipeline.build()
    labels = np.asarray(pipeline.run()[1].as_array()).ravel()
    assert labels.tolist() == lists.read(prepared).val[1].tolist()


def test_dirty_files_are_rejected_with_their_reason(tmp_path):
    root = make_images(tmp_path / "images")
    folder = root / "train" / "bright"
    good = (folder / "image 00.jpg").read_bytes()
    picture = Image.new("RGB", (20, 20))
    (folder / "cut.jpg").write_bytes(good[: len(good) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<html></html>")
    (folder / "notes.txt").write_text("hello")
    picture.save(folder / "really.png", format="JPEG")
    picture.save(folder / "anim.jpg", format="GIF")
    (folder / "line\nbreak.jpg").write_bytes(good)
    summary = prepare(root, tmp_path / "out", max_rejected=0.5)
    with (tmp_path / "out" / "rejected.csv").open(newline="") as file:
        reasons = {row["path"].rsplit("/", 1)[1]: row["reason"] for row in csv.DictReader(file)}
    assert summary["rejected"] == 6
    assert "truncated" in reasons["cut.jpg"]
    assert reasons["empty.jpg"] == "empty file"
    assert reasons["page.jpg"] == "not an image"
    assert reasons["notes.txt"] == "not an image: extension .txt"
    assert "really.png" not in reasons
    assert summary["misnamed"]["count"] == 1
    assert reasons["anim.jpg"] == "GIF, which DALI cannot decode: convert it to JPEG or PNG"
    assert "line break" in reasons["line\nbreak.jpg"]
    with pytest.raises(TwoFourError, match=r"6 of 87 files.*data.max_rejected.*out/refused\.csv"):
        prepare(root, tmp_path / "out", max_rejected=0.01)
    assert "cut.jpg" in (tmp_path / "out" / "refused.csv").read_text()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "LA", "1"])
def test_colour_modes_are_usable(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode in ("RGB", "L", "CMYK") else "a.png")
    Image.new(mode, (9, 7)).save(path)
    assert inspect(str(path)).reason is None


def test_copies_and_leaks_are_counted_and_named(tmp_path):
    root = make_images(tmp_path / "images")
    source = root / "train" / "bright" / "image 00.jpg"
    shutil.copy(source, root / "train" / "bright" / "copy.jpg")
    shutil.copy(source, root / "val" / "bright" / "leak.jpg")
    summary = prepare(root, tmp_path / "out")
    assert summary["duplicates"]["count"] == 1
    assert summary["leaks"]["count"] == 1
    assert summary["leaks"]["pairs"][0]["val"].endswith("val/bright/leak.jpg")


def split_of(out):
    """{class/name: split}"""
    found = lists.read(out)
    return {
        "/".join(path.split("/")[-2:]): split
        for split, (paths, *_) in (("train", found.train), ("val", found.val))
        for path in paths
    }


def test_single_split_is_seeded(tmp_path):
    root = make_images(tmp_path / "images", count=60, splits=("train",))
    first = prepare(root, tmp_path / "a", val_fraction=0.25)
    assert sum(first["images"].values()) == 120
    assert 15 <= first["images"]["val"] <= 45  # 30 ± 3 standard deviations
    again = prepare(root / "train", tmp_path / "b", val_fraction=0.25)
    assert again["content_hash"] == first["content_hash"]
    other = prepare(root, tmp_path / "c", val_fraction=0.25, split_seed=2)
    assert other["content_hash"] != first["content_hash"]


def test_an_image_keeps_its_side_whatever_is_added(tmp_path):
    root = make_images(tmp_path / "images", count=40, splits=("train",)) / "train"
    prepare(root, tmp_path / "a", val_fraction=0.25)
    before = split_of(tmp_path / "a")
    for i, path in enumerate(sorted((root / "bright").iterdir())):
        if i % 3 == 0:
            image = Image.open(path).convert("RGB")
            image.putpixel((0, 0), (i, 255 - i, 7))
            image.save(path.with_name(f"added {i}.png"))
        elif i % 3 == 1:
            path.rename(path.with_name(f"0 {path.name}"))  # another name and place in the order
        else:
            path.unlink()
    prepare(root, tmp_path / "b", val_fraction=0.25)
    after = {name.replace("/0 ", "/"): side for name, side in split_of(tmp_path / "b").items()}
    kept = before.keys() & after.keys()
    assert len(kept) == len(before) - 13
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}


def test_copies_are_on_the_same_side_and_both_sides_have_an_image(tmp_path):
    root = make_images(tmp_path / "images", count=3, splits=("train",)) / "train"
    for label in ("bright", "dark ü"):
        for path in list((root / label).iterdir()):
            shutil.copy(path, path.with_name(f"copy of {path.name}"))
    for seed in range(5):
        summary = prepare(root, tmp_path / "out", val_fraction=0.5, split_seed=seed)
        assert summary["leaks"]["count"] == 0
        for counts in summary["per_class"].values():
            assert min(counts.values()) >= 2
    lone = root / "lone"
    lone.mkdir()
    shutil.copy(root / "bright" / "image 00.jpg", lone)
    shutil.copy(root / "bright" / "image 00.jpg", lone / "again.jpg")
    with pytest.raises(TwoFourError, match="class 'lone' has only one usable image"):
        prepare(root, tmp_path / "out")


def test_program_fails_in_one_sentence(tmp_path):
    done = program("prepare_dataset.py", "--root", tmp_path / "x", "--out", tmp_path, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "data.root" in done.stderr


@pytest.mark.parametrize("line", ["a.jpg", "a.jpg x", " 3", "a.jpg -1", "a.jpg 1.5"])
def test_damaged_list_names_the_line(tmp_path, line):
    (tmp_path / "l.txt").write_text(f"ok.jpg 0\n{line}\n")
    with pytest.raises(TwoFourError, match="line 2"):
        lists.read_list(tmp_path / "l.txt")
