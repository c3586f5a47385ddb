"""A model in a user's hands: twofour predict, twofour evaluate, and the lines without TwoFour."""

import csv
import json
import re
import shutil
import subprocess
import sys

from twofour.data import lists
from twofour.deploy import backends, finished, snippet
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
import yaml
from conftest import TINY, make_images, merged, program, snakemake
from PIL import Image, ImageOps

pytestmark = pytest.mark.workflow
# Photographs of several shapes, resized and cropped: all that the preprocessing can do.
SHAPES = [(64, 48), (40, 90), (33, 32), (57, 57), (120, 35)]
CHANGES = {
    "run": "hands",
    "data": {"root": "images", "resize": 40},
    "train": {"epochs": 8, "learning_rate": 0.1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run up to the evaluations of its sparse model: the folder of its results."""
    folder = tmp_path_factory.mktemp("hands")
    make_images(folder / "images")
    rng = np.random.default_rng(1)
    for number, path in enumerate(sorted((folder / "images").glob("*/*/*.jpg"))):
        size = SHAPES[number % len(SHAPES)]
        smooth = Image.open(path).resize((6, 5)).resize(size, Image.Resampling.BICUBIC)
        smooth.save(path, quality=92, exif=_exif(1 + int(rng.integers(8))))
    (folder / "config.yaml").write_text(yaml.safe_dump(merged(TINY, CHANGES)))
    cases = [f"results/hands/evaluation/sparse/{b}-fp32.json" for b in CPU]
    snakemake(folder, "--configfile", "config.yaml", "--cores", 2, *cases)
    return folder


CPU = [name for name in backends.NAMES if backends.about(name).on_cpu]
MODEL = "results/hands/deploy/sparse"


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def last(done):
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("backend", CPU)
def test_predictions_are_those_of_the_evaluation(run, backend, tmp_path):
    """Of every validation image, by every backend: counted as there, and its probabilities."""
    val = run / "results/hands/dataset/val.txt"
    out = tmp_path / "found.csv"
    options = ("--backend", backend, "--top", 2, "--out", out, "--batch-size", 3)
    program("predict.py", run / MODEL, val, *options, cwd=run)
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    paths, labels = lists.read_list(val)
    assert [row["image"] for row in found[::2]] == paths
    assert [row["rank"] for row in found] == ["1", "2"] * len(paths)
    evaluated = json.loads(
        (run / f"results/hands/evaluation/sparse/{backend}-fp32.json").read_text()
    )
    right = sum(int(row["label"]) == label for row, label in zip(found[::2], labels))
    assert 100 * right / len(paths) == pytest.approx(evaluated["top1"])
    with np.load(run / "results/hands/reference/sparse.npz") as archive:
        reference = archive["probabilities"]
    for row, expected in zip(found[::2], reference):
        assert float(row["probability"]) == pytest.approx(expected[int(row["label"])], abs=1e-5)


def test_evaluate_counts_a_folder_as_the_run_does(run, tmp_path):
    out, rows = tmp_path / "found.json", tmp_path / "rows.json"
    folder = run / "images" / "val"
    done = program(
        "evaluate_folder.py",
        *(run / MODEL, folder, "--backend", "onnxruntime", "--out", out, "--predictions", rows),
        cwd=run,
    )
    found = json.loads(out.read_text())
    known = json.loads((run / "results/hands/evaluation/sparse/onnxruntime-fp32.json").read_text())
    assert {k: found[k] for k in ("top1", "top5", "images")} == {
        k: known[k] for k in ("top1", "top5", "images")
    }
    assert found["loss"] == pytest.approx(known["loss"], abs=1e-6)
    assert sum(c["correct"] for c in found["per_class"].values()) == round(
        found["top1"] * found["images"] / 100
    )
    assert found["training_images"] == 0 and "warning" not in done.stderr
    assert len(json.loads(rows.read_text())) == found["images"]


def test_evaluate_says_what_makes_its_figures_wrong(run, tmp_path):
    """Images that the network was trained on, and files that cannot be read."""
    folder = tmp_path / "others"
    shutil.copytree(run / "images" / "train", folder)
    broken = folder / "bright" / "image 00.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    out = tmp_path / "found.json"
    done = program("evaluate_folder.py", run / MODEL, folder, "--out", out, cwd=run)
    found = json.loads(out.read_text())
    assert found["images"] == 39 == found["training_images"]
    assert [row["path"] for row in found["rejected"]] == [str(broken)]
    assert str(broken) in done.stderr and "trained on 39 of these images" in done.stderr


def test_the_lines_without_twofour_give_the_same_predictions(run):
    """Those of the report, executed for all validation images in one process."""
    about = json.loads((run / MODEL / "model.json").read_text())
    lines = snippet.text(about, MODEL).splitlines()
    assert sum(map(bool, lines)) <= 14 and not any("twofour" in line.lower() for line in lines)
    paths, _ = lists.read_list(run / "results/hands/dataset/val.txt")
    loop = "\n".join(
        [
            "import sys",
            f"for path in {paths!r}:",
            "    sys.argv[1:] = [path]",
            *(f"    {line}" for line in lines),
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", loop], cwd=run, capture_output=True, text=True, check=True
    )
    found = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    with np.load(run / "results/hands/reference/sparse.npz") as archive:
        reference = archive["probabilities"]
    assert len(found) == len(paths)
    for (name, chance), expected in zip(found, reference):
        assert float(chance) == pytest.approx(expected[about["classes"].index(name)], abs=0.01)
        assert name == about["classes"][expected.argmax()] or abs(expected[0] - 0.5) < 0.01


def test_what_cannot_be_read_is_named_and_the_rest_predicted(run, tmp_path):
    good = sorted((run / "images" / "val" / "bright").iterdir())[0]
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:200])
    done = program("predict.py", run / MODEL, good, cut, tmp_path / "none.png", check=False)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{good}\n") and done.stdout.count("%") == 2
    assert last(done).startswith("error: 2 of 3 files cannot be read") and "cut.jpg" in last(done)
    assert f"{tmp_path / 'none.png'}: cannot be read: No such file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/hands", "images"], f"below it are {MODEL}"),
        (["nowhere", "images"], "there is no nowhere"),
        ([MODEL, "empty"], "the folder empty is empty"),
        ([MODEL, "images", "--backend", "tensorrt"], "has not been built for tensorrt, only for"),
        ([MODEL, "images", "--device", "gpu"], "GPU"),
        ([MODEL, "images", "--out", "o.xlsx"], "--out: o.xlsx must end in .csv or .json"),
        ([MODEL, "images", "--out", "/proc/o.csv"], "cannot write /proc/o.csv: No such file"),
        ([MODEL, "images", "--threads", "100000"], "is not a whole number from 1 to 1024"),
        ([MODEL, "images", "--top", "0"], "0 is not a whole number from 1 to 1024"),
    ],
)
def test_a_wrong_command_is_one_sentence(run, arguments, said):
    (run / "empty").mkdir(exist_ok=True)
    done = program("predict.py", *arguments, cwd=run, check=False)
    assert done.returncode == 1
    assert said in last(done) and "Traceback" not in done.stderr


def test_a_class_that_the_model_does_not_know_is_named(run, tmp_path):
    shutil.copytree(run / "images" / "val", tmp_path / "val")
    (tmp_path / "val" / "bright").rename(tmp_path / "val" / "brihgt")
    done = program("evaluate_folder.py", run / MODEL, tmp_path / "val", cwd=run, check=False)
    assert done.returncode == 1
    assert "'brihgt'" in last(done) and "did you mean bright?" in last(done)


def test_the_model_can_be_moved(run, tmp_path):
    """Nothing in its folder refers to where it was made."""
    shutil.copytree(run / MODEL, tmp_path / "model")
    path = sorted((run / "images" / "val" / "bright").iterdir())[0]
    here, there = (
        program("predict.py", folder, path, "--format", "json", cwd=tmp_path).stdout
        for folder in (run / MODEL, tmp_path / "model" / "model.onnx")
    )
    assert json.loads(here) == json.loads(there)


def test_pictures_are_what_viewers_show(run):
    """The fixture's images are stored turned, so equal predictions prove that both turn them."""
    turned = [p for p in (run / "images").glob("*/*/*.jpg") if _turned(p)]
    assert len(turned) > 20


def _turned(path):
    with Image.open(path) as image:
        return image.getexif().get(0x0112, 1) > 1 and ImageOps.exif_transpose(image) is not image


def test_a_list_of_files_works_from_any_folder(run, tmp_path):
    """Its paths are below the folder of the run; with a byte-order mark, too."""
    val = run / "results/hands/dataset/val.txt"
    found = program("predict.py", run / MODEL, val, "--format", "csv", cwd=tmp_path).stdout
    assert len(found.splitlines()) == 1 + 2 * 40
    here = run / "some.lst"
    here.write_text("\ufeffimages/val/bright/image 00.jpg\n", encoding="utf-8")
    assert "image 00.jpg" in program("predict.py", run / MODEL, here, cwd=tmp_path).stdout
    here.write_text("none.jpg\n")
    failed = program("predict.py", run / MODEL, here, cwd=tmp_path, check=False)
    assert "there is no 'none.jpg', the first file that it lists" in last(failed)


def test_every_file_of_a_folder_is_predicted_or_named(run, tmp_path):
    shutil.copytree(run / "images" / "val" / "bright", tmp_path / "some")
    (tmp_path / "some" / "a.gif").write_bytes(b"GIF89a")
    failed = program("predict.py", run / MODEL, tmp_path / "some", check=False)
    assert failed.returncode == 1 and failed.stdout.count(".jpg\n") == 20
    assert "1 of 21 files cannot be read" in last(failed) and "a.gif: GIF" in last(failed)


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("model.json", lambda about: about.pop("model"), "'model' is a required property"),
        ("model.json", lambda about: about["input"].update(std=[0, 1, 1]), "input.std.0"),
        ("model.json", lambda about: about["input"].update(mean=[0.5]), "input.mean"),
        ("model.json", lambda about: about.update(classes=["a", "b", "c"]), "as many as the outp"),
        ("model.json", lambda about: about["input"].update(centre_crop=64), "is not the size"),
        ("paddle-fp32/build.json", lambda built: built.pop("backend"), "'backend' is a required"),
        ("paddle-fp32/build.json", lambda built: built.update(backend="x"), "backend"),
    ],
)
def test_a_damaged_description_is_a_sentence_with_the_file(run, path, change, said, tmp_path):
    shutil.copytree(run / MODEL, tmp_path / "model")
    content = json.loads((tmp_path / "model" / path).read_text())
    change(content)
    (tmp_path / "model" / path).write_text(json.dumps(content))
    with pytest.raises(TwoFourError, match=re.escape(said)) as raised:
        finished.find(tmp_path / "model")
    assert path in str(raised.value) and len(str(raised.value)) < 400


def test_only_imagenets_identifiers_stand_for_longer_names():
    names = ["red fox", "red panda", "n01440764 tench", "n01443537 goldfish"]
    found = lists.numbers(names)
    assert found["red fox"] == 0 and found["n01440764"] == 2 and "red" not in found
