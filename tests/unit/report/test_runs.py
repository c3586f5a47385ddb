"""Runs side by side, on results written by hand."""

import json
from pathlib import Path

from twofour import models
from twofour.deploy import reference
from twofour.report import runs
from twofour.system.errors import TwoFourError

import numpy as np
import pandas as pd
import pytest
from conftest import program

DEFAULTS = {"train": {"mixup": 0, "cutmix": 0}, "seed": 1}


def result(folder: Path, right: list[bool], pictures: list[int], config: dict, **columns) -> Path:
    """A finished run whose models have these validation ``pictures`` right or wrong."""
    (folder / "dataset").mkdir(parents=True)
    (folder / "reference").mkdir()
    known = models.table("mask_1d")
    models.write(folder / "models.json", known)
    labels = [picture % 2 for picture in pictures]
    listing = "".join(f"{p}.jpg {label}\n" for p, label in zip(pictures, labels))
    (folder / "dataset" / "train.txt").write_text("t.jpg 0\n")
    (folder / "dataset" / "val.txt").write_text(listing)
    (folder / "dataset" / "classes.txt").write_text("cat\ndog\n")
    content = {"content_hash": "x", "orientations": {"train": {}, "val": {}}}
    (folder / "dataset" / "content.json").write_text(json.dumps(content))
    digests = np.array([[p] * 16 for p in pictures], np.uint8)
    np.savez(folder / "dataset" / "digests.npz", train=digests[:1], val=digests)
    named = np.where(right, labels, 1 - np.array(labels))
    for model in known:
        probabilities = np.eye(2, dtype=np.float32)[named]
        reference.write(folder / "reference" / f"{model.name}.npz", probabilities, "x")
    rows = [
        {
            **{"model": model.name, "backend": "paddle", "precision": "fp32", "batch_size": size},
            **{"device": "some CPU", "top1": 100 * np.mean(right), "top1_drop": 0.0},
            **{"throughput_img_s": 100.0, "speedup": 1.0, "size_mb": 2.0, **columns},
        }
        for model in known
        for size in (1, 8)
    ]
    pd.DataFrame(rows).to_csv(folder / "comparison.csv", index=False)
    (folder / "provenance.json").write_text(json.dumps({"config": config}))
    return folder


@pytest.fixture
def two(tmp_path):
    """Of pictures 0 to 9 and 2 to 11, in another order: eight are in both."""
    first = [True] * 8 + [False] * 2
    second = [p not in (3, 4, 5) for p in range(11, 1, -1)]
    a = result(tmp_path / "a", first, list(range(10)), {"run": "a", "train": {"epochs": 3}})
    config = {"run": "b", "train": {"epochs": 4, "mixup": 0.2}, "seed": 1}
    return a, result(tmp_path / "b", second, list(range(11, 1, -1)), config, device="other CPU")


def test_images_are_paired_by_their_pixels(two):
    found = runs.paired(runs.read(two, DEFAULTS))
    assert [pair.model for pair in found] == ["dense", "pruned", "sparse"]
    # Common: 2 to 9. The first has 2 to 7 right, the second all but 3, 4 and 5.
    assert {(p.images, p.both, p.first, p.second) for p in found} == {(8, 3, 3, 2)}
    assert "only a has 3 right and only b 2, -12.50 points for b" in found[0].sentence
    assert "may be chance" in found[0].sentence


def test_the_same_pixels_under_another_class_are_another_image(two, tmp_path):
    (two[1] / "dataset" / "classes.txt").write_text("lynx\nwolf\n")
    assert runs.paired(runs.read(two, DEFAULTS)) == []
    done = program("compare_runs.py", *two)
    assert "They share no validation image" not in done.stdout  # the machines differ, which is told
    assert "validated on" not in done.stdout


def test_differing_keys_are_listed_with_the_defaults_of_those_that_a_run_lacks(two):
    expected = [("train.mixup", ["0", "0.2"]), ("train.epochs", ["3", "4"])]
    assert runs.differences(runs.read(two, DEFAULTS)) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("provenance.json", b"{}", "provenance.json holds no configuration"),
        ("reference/sparse.npz", b"PK", "cannot read .*sparse.npz"),
        ("comparison.csv", b"model,device\n", "comparison.csv has no rows"),
    ],
)
def test_a_damaged_run_is_a_sentence_with_the_file(two, name, content, said):
    (two[1] / name).write_bytes(content)
    with pytest.raises(TwoFourError, match=said):
        runs.paired(runs.read(two, DEFAULTS))


def test_table_csv_and_page(two, tmp_path):
    page, table = tmp_path / "page.html", tmp_path / "all.csv"
    done = program("compare_runs.py", *two, "--page", page, "--csv", table)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "model", "backend"]
    assert [line.split()[:2] for line in lines[1:7]] == [
        [run, model] for run in "ab" for model in ("dense", "pruned", "sparse")
    ]
    assert "  train.epochs: a 3, b 4" in lines
    assert "Speeds were measured on different machines: a on some CPU; b on other CPU." in lines
    assert len(pd.read_csv(table)) == 12
    assert page.read_text().count("<tr>") == 1 + 2 + 1 + 12  # two heads, two keys, all rows
    assert max(len(line) for line in lines[:7]) < 80


def test_runs_of_the_same_name_are_told_apart_by_their_folders(two, tmp_path):
    (tmp_path / "x").mkdir()
    moved = two[1].rename(tmp_path / "x" / "a")
    assert [run.name for run in runs.read([two[0], moved], DEFAULTS)] == [
        f"{tmp_path.name}/a",
        "x/a",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, b: [a], "at least two runs"),
        (lambda a, b: [a, a], "named twice"),
        (lambda a, b: [a, b / "none"], "is no folder; name folders of finished runs"),
        (lambda a, b: [a, b / "dataset"], r"has no comparison\.csv"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(two, change, said):
    with pytest.raises(TwoFourError, match=said):
        runs.read(change(*two), DEFAULTS)
