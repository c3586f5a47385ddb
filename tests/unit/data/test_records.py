"""Files that have not changed are not decoded again."""

import os
import sqlite3

from twofour.data import dataset, images, records, tree

import pytest
from conftest import make_images


@pytest.fixture
def decoded(monkeypatch):
    """Paths of the files that were really decoded."""
    seen = []

    def inspect(paths, workers):
        for path in paths:
            seen.append(path)
            yield images.inspect(path)

    monkeypatch.setattr(dataset, "_inspect", inspect)
    return seen


def check(root, out):
    return dataset.check(tree.scan(str(root)), 1, out)


def test_unchanged_files_are_answered_from_the_record(tmp_path, decoded):
    root = make_images(tmp_path / "images", count=3)
    first = check(root, tmp_path / "out")
    assert len(decoded) == 12
    assert check(root, tmp_path / "out") == first
    assert len(decoded) == 12


def test_changed_new_and_removed_files(tmp_path, decoded):
    root = make_images(tmp_path / "images", count=3)
    check(root, tmp_path / "out")
    decoded.clear()
    folder = root / "train" / "bright"
    one, two = sorted(folder.iterdir())[:2]
    one.write_bytes(one.read_bytes()[:200])
    os.utime(two, ns=(1, 1))  # its content might have changed
    (folder / "new.jpg").write_bytes(two.read_bytes())
    (root / "val" / "bright" / "image 00.jpg").unlink()
    verdicts = dict(zip((e.path for e in tree.scan(str(root))), check(root, tmp_path / "out")))
    assert sorted(decoded) == sorted(map(str, (one, two, folder / "new.jpg")))
    assert "cannot be decoded" in verdicts[str(one)].reason
    database = sqlite3.connect(tmp_path / "out" / records.NAME)
    assert database.execute("SELECT count(*) FROM files").fetchone() == (12,)


def test_what_a_killed_check_found_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "COMMIT_EVERY", 1)
    root = make_images(tmp_path / "images", count=3)

    def killed(paths, workers):
        for path in paths[:5]:
            yield images.inspect(path)
        raise KeyboardInterrupt

    real = dataset._inspect
    monkeypatch.setattr(dataset, "_inspect", killed)
    with pytest.raises(KeyboardInterrupt):
        check(root, tmp_path / "out")
    seen = []
    monkeypatch.setattr(dataset, "_inspect", lambda p, w: seen.extend(p) or real(p, w))
    check(root, tmp_path / "out")
    assert len(seen) == 7


def test_other_code_and_damage_decode_all_again(tmp_path, decoded, monkeypatch):
    root = make_images(tmp_path / "images", count=2)
    check(root, tmp_path / "out")
    monkeypatch.setattr(dataset, "sha256", lambda path: "other code")
    check(root, tmp_path / "out")
    assert len(decoded) == 16
    (tmp_path / "out" / records.NAME).write_bytes(b"no database " * 1000)
    check(root, tmp_path / "out")
    assert len(decoded) == 24
