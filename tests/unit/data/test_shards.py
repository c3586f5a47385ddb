"""Images in tar files: what is found in them, and that they are read as files of their own are."""

import functools
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

from twofour.data import dataset, lists, members, shards, sources
from twofour.data.loader import Loader, Pipeline
from twofour.data.settings import Data
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from conftest import TINY, make_images, merged, program
from loading import drain, require_resuming, require_sharing, same
from PIL import Image

DATA = Data(source="shards", image_size=24, resize=28)


def content(value=0, size=(30, 26), kind="PNG", orientation=1):
    """A picture as the bytes of a file."""
    pixels = np.random.default_rng(value).integers(0, 256, (*size, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, exif=exif)
    return out.getvalue()


def write(path, files):
    """A tar file of {name: bytes}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def numbered(first, count=6, classes=3):
    """The members of a WebDataset: images and numbers of classes."""
    files = {}
    for number in range(first, first + count):
        files[f"{number:04d}.png"] = content(number)
        files[f"{number:04d}.cls"] = str(number % classes).encode()
    return files


@pytest.fixture
def root(tmp_path):
    """Two tar files for training, one for validation, names of the classes."""
    folder = tmp_path / "packed"
    write(folder / "train-0.tar", numbered(0))
    write(folder / "train-1.tar", numbered(6, 7))
    write(folder / "val-0.tar", numbered(20))
    (folder / "classes.txt").write_text("cat\ndog\nfish\n")
    return folder


def packed(folder, out, per_tar=7):
    """The images of an ImageFolder in tar files, mixed, the folders' names as classes."""
    for split in ("train", "val"):
        paths = sorted((folder / split).rglob("*.*"))
        order = np.random.default_rng(0).permutation(len(paths))
        for start in range(0, len(order), per_tar):
            files = {}
            for i in order[start : start + per_tar]:
                files[f"{i:05d}.{paths[i].suffix[1:]}"] = paths[i].read_bytes()
                files[f"{i:05d}.cls"] = paths[i].parent.name.encode()
                files[f"{i:05d}.json"] = b"{}"
            write(out / f"{split}-{start:05d}.tar", files)
    return out


def test_images_and_their_classes_are_found(root):
    entries, words = shards.scan(str(root), 1)
    assert [e.split for e in entries] == ["train"] * 13 + ["val"] * 6
    assert [e.label for e in entries[:6]] == list("012012")
    assert words == {"0": "cat", "1": "dog", "2": "fish"}
    for number, entry in enumerate(entries[:6]):
        with members.opened(entry.path) as file:
            assert file.read() == content(number)
        assert members.look(entry.path)[0] == len(content(number))
    assert sources.count(replace(DATA, root=str(root))) == (13, 6, 3)


def test_numbers_are_sorted_as_numbers(tmp_path):
    write(tmp_path / "train.tar", numbered(0, 24, 12))
    entries, words = shards.scan(str(tmp_path), 1)
    assert sorted({e.label for e in entries}) == [f"{n:02d}" for n in range(12)] and words == {}
    assert {e.split for e in entries} == {""}


@pytest.mark.parametrize(
    "names",
    [
        ("train/0.tar", "val/0.tar"),
        ("imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"),
        ("Training_3.tar", "VALID_3.tar"),
    ],
)
def test_names_and_folders_say_which_split_it_is(tmp_path, names):
    for name in names:
        write(tmp_path / name, numbered(0))
    entries, _ = shards.scan(str(tmp_path), 1)
    assert [e.split for e in entries] == ["train"] * 6 + ["val"] * 6


def test_without_cls_the_folder_is_the_class(tmp_path):
    files = {f"x/{c}/{n}.1.png": content(n) for c in ("a b", "ü") for n in range(3)}
    write(tmp_path / "some.tar", {**files, "x/._a.png": b"?", "README.md": b"text"})
    entries, _ = shards.scan(str(tmp_path), 1)
    assert sorted({e.label for e in entries}) == ["a b", "ü"] and len(entries) == 6


def test_other_images_of_a_sample_are_left_alone(tmp_path):
    files = {"1.jpg": content(1), "1.seg.png": content(2), "1.cls": b"cat"}
    write(tmp_path / "a.tar", {**files, "2.JPG": content(3), "2.cls": b"dog\n"})
    names = [members.parse(e.path).name for e in shards.scan(str(tmp_path), 1)[0]]
    assert names == ["1.jpg", "2.JPG"]


def member(path, name):
    """Where the bytes of a member begin."""
    with tarfile.open(path) as tar:
        return tar.getmember(name).offset_data


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def damage(path, at):
    data = bytearray(path.read_bytes())
    data[at : at + 300] = b"!" * 300
    path.write_bytes(data)


BAD = {
    "is not a plain tar file": lambda p: p.write_bytes(b"no tar file at all" * 100),
    "0000.tar ends in the middle of 0002.png": lambda p: cut(p, member(p, "0002.png") + 100),
    "is cut off or damaged: after 2 images": lambda p: cut(p, member(p, "0002.png") - 512),
    "has no class: put": lambda p: write(p, {"1.png": content(1)}),
    "the sample 1 has 2 images": lambda p: write(
        p, {"1.png": content(1), "1.jpg": content(2), "1.cls": b"1"}
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_tar_file_is_one_sentence(tmp_path, message):
    path = write(tmp_path / "train-0000.tar", numbered(0))
    BAD[message](path)
    with pytest.raises(TwoFourError, match=message):
        shards.scan(str(tmp_path), 1)


def test_member_that_cannot_be_read_in_the_middle(tmp_path):
    path = write(tmp_path / "train-0000.tar", numbered(0))
    damage(path, member(path, "0002.png") - 512)
    with pytest.raises(TwoFourError, match="is cut off or damaged: after 2 images"):
        shards.scan(str(tmp_path), 1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there is no tar file"),
        (["train.tar.gz"], "is compressed; unpack it"),
        (["train-0.tar", "more.tar"], "more.tar is neither for training nor for validation"),
        (["val-0.tar"], "has tar files for val, but none for train"),
        (["train-0.tar", "test-0.tar"], "is .*test-0.tar for training or for validation"),
        (["train/x.tar", "train/val-0.tar"], "is .*val-0.tar for training or for validation"),
    ],
)
def test_names_that_leave_open_what_is_meant(tmp_path, names, message):
    for name in names:
        write(tmp_path / name, numbered(0))
    with pytest.raises(TwoFourError, match=message):
        shards.scan(str(tmp_path), 1)


def test_classes_that_do_not_fit_are_named(root):
    write(root / "val-0.tar", numbered(0, 4, 2))
    with pytest.raises(TwoFourError, match="only in train: 2"):
        shards.scan(str(root), 1)
    (root / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(TwoFourError, match="names 2 classes, but there are images of class 2"):
        shards.scan(str(root), 1)
    write(root / "train-0.tar", numbered(0, 4, 1))
    (root / "train-1.tar").unlink()
    write(root / "val-0.tar", numbered(0, 4, 1))
    with pytest.raises(TwoFourError, match="a classifier needs two"):
        shards.scan(str(root), 1)


def test_state_changes_with_the_tar_files(root):
    before = shards.state(str(root))
    assert shards.state(str(root)) == before
    for path, change in ((root / "classes.txt", "a\nb\nc\n"), (root / "notes.txt", "x")):
        path.write_text(change)
    after = shards.state(str(root))
    assert after != before
    (root / "notes.txt").write_text("longer")
    assert shards.state(str(root)) == after
    damage(root / "train-0.tar", 600)  # its size stays
    assert shards.state(str(root)) != after


def test_stage_finds_the_same_as_in_files(tmp_path, images):
    packed(images, tmp_path / "tars")
    plain = dataset.prepare(str(images), str(tmp_path / "a"), replace(DATA, source="folder"), 1)
    out = tmp_path / "b"
    found = dataset.prepare(str(tmp_path / "tars"), str(out), DATA, 1)
    for key in ("classes", "images", "per_class", "bytes", "width", "height", "rejected"):
        assert found[key] == plain[key]
    one, other = lists.read(tmp_path / "a"), lists.read(out)
    assert one.classes == other.classes
    for split in ("train", "val"):
        ours, theirs = ({} for _ in range(2))
        for there, folder, read in ((ours, out, other), (theirs, tmp_path / "a", one)):
            labels = getattr(read, split).labels.tolist()
            there.update(zip((d.tobytes() for d in lists.digests(folder)[split]), labels))
        assert ours == theirs
    # Unchanged members are not decoded again, and a broken one is rejected by its name.
    before = (out / "train.txt").read_bytes()
    dataset.prepare(str(tmp_path / "tars"), str(out), DATA, 1)
    assert (out / "train.txt").read_bytes() == before


def test_broken_image_in_a_tar_file_is_rejected(root, tmp_path):
    write(root / "train-1.tar", {**numbered(6, 7), "0099.png": content(5)[:200], "0099.cls": b"1"})
    dataset.prepare(str(root), str(tmp_path / "out"), replace(DATA, max_rejected=0.5), 1)
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert "train-1.tar@" in rejected and "/0099.png,cannot be decoded" in rejected


def test_unmixed_tar_files_are_warned_of(tmp_path, caplog):
    for number, name in enumerate(("a", "b", "c")):
        files = {f"{name}/{i}.png": content(10 * number + i) for i in range(4)}
        write(tmp_path / "tars" / f"train-{name}.tar", files)
        write(tmp_path / "tars" / f"val-{name}.tar", {f"{name}/1.png": content(90 + number)})
    summary = dataset.prepare(str(tmp_path / "tars"), str(tmp_path / "out"), DATA, 1)
    with caplog.at_level("WARNING", logger="twofour"):
        dataset.tell(summary)
    assert "pack them anew in random order" in caplog.text


# --- reading ---


@pytest.fixture
def listed(root, tmp_path):
    for name, first, count in (("train-0", 0, 12), ("train-1", 12, 15), ("train-2", 27, 10)):
        write(root / f"{name}.tar", numbered(first, count))
    dataset.prepare(str(root), str(tmp_path / "out"), DATA, 1)
    return lists.read(tmp_path / "out").train


def loader(split, state=None, data=DATA, **options):
    given = {"channels": 3, "training": True, "threads": 1, "seed": 4, **options}
    pipeline = Pipeline(data, batch_size=8, **given)
    return Loader(split.paths, pipeline, state, split.orientations)


def test_evaluation_gives_the_images_of_files_in_the_order_of_the_list(listed, tmp_path):
    files = []
    for number, path in enumerate(listed.paths):
        with members.opened(path) as file:
            files.append(tmp_path / f"{number:03d}.png")
            files[-1].write_bytes(file.read())
    run, plain = loader(listed, training=False), lists.Split(list(map(str, files)), *listed[1:])
    expected = drain(loader(plain, training=False).epoch())
    for _ in range(2):
        assert same(drain(run.epoch()), expected)
    # Also where the list goes back and forth between tar files, and repeats some images.
    order = [30, 2, 31, 2, 3, 12, 0]
    mixed, same_files = (
        lists.Split([s.paths[i] for i in order], s.labels[order], s.orientations[order])
        for s in (listed, plain)
    )
    assert same(*(drain(loader(s, training=False).epoch()) for s in (mixed, same_files)))


@pytest.mark.parametrize("buffer", [1, 5, 10000])
def test_training_gives_each_image_once_in_another_order_each_epoch(listed, buffer):
    data = replace(DATA, shuffle_buffer=buffer)
    run = loader(listed, data=data)
    epochs = [np.concatenate([p for _, p in run.epoch()]).tolist() for _ in range(3)]
    for positions in epochs:
        assert len(positions) == 32 == len(set(positions))
    if buffer > 1:
        assert epochs[0] != epochs[1] != epochs[2]
        assert epochs[0] != sorted(epochs[0])


def test_labels_belong_to_the_images(listed):
    for images, positions in loader(listed, training=False).epoch():
        assert len(images) == len(positions)
    assert listed.labels.tolist() == [n % 3 for n in range(37)]


def test_same_seed_same_batches_whatever_the_threads(listed):
    a, b, c = (loader(listed, **k) for k in ({}, {"threads": 2}, {"seed": 5}))
    a, b, c = (drain(x.epoch()) for x in (a, b, c))
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize("cut_at", [0, 1, 3, 4, 6])
@pytest.mark.parametrize("buffer", [6, 4096])
def test_resumed_equals_uninterrupted(listed, cut_at, buffer):
    data = replace(DATA, shuffle_buffer=buffer)
    require_resuming(functools.partial(loader, listed, data=data), cut_at)


@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_several_processes_do_not_overlap(listed, count):
    runs = [loader(listed, shard=i, shards=count) for i in range(count)]
    require_sharing(runs, 8)


@pytest.mark.parametrize("training", [True, False])
def test_images_are_turned_as_their_exif_orientation_says(tmp_path, training):
    files = {}
    for number in range(8):
        files[f"{number}.jpg"] = content(number, (26, 26), "JPEG", number + 1)
        files[f"{number}.cls"] = str(number % 2).encode()
    write(tmp_path / "tars" / "train.tar", files)
    write(tmp_path / "tars" / "val.tar", files)
    dataset.prepare(str(tmp_path / "tars"), str(tmp_path / "out"), DATA, 1)
    split = lists.read(tmp_path / "out").train
    assert split.orientations.tolist() == list(range(1, 9))
    plain = [tmp_path / f"{number}.jpg" for number in range(8)]
    for path in plain:
        path.write_bytes(files[path.name])
    data = replace(DATA, crop_area=[1, 1], crop_ratio=[1, 1], flip=False, shuffle_buffer=1)
    a, b = (
        loader(lists.Split(list(map(str, paths)), *split[1:]), data=data, training=training)
        for paths in (split.paths, plain)
    )
    (one,), (two,) = drain(a.epoch()), drain(b.epoch())
    first, second = (images[np.argsort(positions)] for images, positions in (one, two))
    np.testing.assert_array_equal(first, second)


def test_damage_after_the_stage_names_the_member(listed):
    tar, offset, size, _ = members.parse(listed.paths[3])
    with Path(tar).open("r+b") as file:
        file.seek(offset)
        file.write(b"?" * size)
    with pytest.raises(TwoFourError, match=r"train-0\.tar@.*/0003\.png .*has changed since"):
        drain(loader(listed, training=False).epoch())


def test_trains_and_resumes_on_tar_files(tmp_path):
    images = make_images(tmp_path / "images")
    packed(images, tmp_path / "tars")
    given = merged(TINY, {"data": {"source": "shards", "root": str(tmp_path / "tars")}})
    configuration, data = json.dumps(given), tmp_path / "data"
    program("prepare_dataset.py", "--config", configuration, "--out", data, "--workers", 1)
    program("train.py", "--config", configuration, "--data", data, "--out", tmp_path / "dense")
    trained = json.loads((tmp_path / "dense" / "train.json").read_text())
    assert trained["top1"] > 80
