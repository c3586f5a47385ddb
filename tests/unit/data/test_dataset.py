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
    return dataset.prepare(str(root), str(out), replace(DATA, **data), seed=1, workers=1)


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
    assert summary["rejected"] == 7
    assert "truncated" in reasons["cut.jpg"]
    assert reasons["empty.jpg"] == "empty file"
    assert reasons["page.jpg"] == "not an image"
    assert reasons["notes.txt"] == "not an image: extension .txt"
    assert reasons["really.png"] == "wrong extension: .png file with JPEG content"
    assert reasons["anim.jpg"] == "GIF images are not supported"
    assert "line break" in reasons["line\nbreak.jpg"]
    with pytest.raises(TwoFourError, match=r"7 of 87 files.*data.max_rejected.*out/refused\.csv"):
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


def test_single_split_is_stratified_and_seeded(tmp_path):
    root = make_images(tmp_path / "images", splits=("train",))
    first = prepare(root, tmp_path / "a", val_fraction=0.25)
    assert first["per_class"]["bright"] == {"train": 15, "val": 5}
    assert prepare(root, tmp_path / "b", val_fraction=0.25)["content_hash"] == first["content_hash"]
    other = dataset.prepare(str(root), str(tmp_path / "c"), replace(DATA, val_fraction=0.25), 2, 1)
    assert other["content_hash"] != first["content_hash"]
    plain = prepare(root / "train", tmp_path / "d", val_fraction=0.25)
    assert plain["images"] == {"train": 30, "val": 10}


def test_loops_of_links_end(tmp_path):
    root = make_images(tmp_path / "images", count=2)
    before = dataset.fingerprint(str(root))
    (root / "train" / "bright" / "loop").symlink_to(root)
    assert dataset.fingerprint(str(root)) == before
    assert len(dataset.scan(str(root))) >= 8


def test_clear_errors(tmp_path):
    with pytest.raises(TwoFourError, match="nowhere does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
    root = make_images(tmp_path / "images")
    (root / "train" / "cat").mkdir()
    with pytest.raises(TwoFourError, match="class 'cat' is empty"):
        prepare(root, tmp_path / "out")
    shutil.copy(root / "train" / "bright" / "image 00.jpg", root / "train" / "cat")
    with pytest.raises(TwoFourError, match=r"differ .*only in train: cat"):
        prepare(root, tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(TwoFourError, match="no class folders"):
        prepare(tmp_path / "none", tmp_path / "out")


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
