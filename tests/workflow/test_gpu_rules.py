"""Several processes, another environment, ImageNet and given weights, through Snakemake."""

import json
import shutil
import sys

from twofour.data import lists

import pytest
import yaml
from archives import WORDS, deliver
from conftest import ROOT, TINY, make_images, merged, named_rules, snakemake

pytestmark = pytest.mark.workflow
DENSE = "results/small/dense/model.pdparams"


def folder_with(path, *changes):
    path.mkdir(exist_ok=True)
    make_images(path / "my images", count=8)
    base = {"run": "small", "data": {"root": "my images"}, "sparsity": {"require_learnt": False}}
    settings = merged(TINY, base, *changes)
    (path / "config.yaml").write_text(yaml.safe_dump(settings))
    return path


def run(folder, *arguments, **options):
    return snakemake(folder, *arguments, "--configfile", "config.yaml", "--cores", 2, **options)


def planned(done) -> set[str]:
    return named_rules(done.stdout + done.stderr)


def test_two_processes_and_a_log_where_the_readme_says(tmp_path):
    folder = folder_with(tmp_path, {"hardware": {"cpu_processes": 2}, "train": {"batch_size": 4}})
    run(folder, DENSE)
    results = folder / "results" / "small"
    assert json.loads((results / "dense" / "train.json").read_text())["processes"] == 2
    assert "epoch 2/2" in (results / "logs" / "train_dense.log").read_text()
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        *("config.yaml", "my images", "results")  # nothing else is left behind
    ]
    assert planned(run(folder, DENSE, "-n")) == set()


@pytest.fixture
def environment(tmp_path):
    """A folder that looks like an environment, and records what its Python is asked to run."""
    folder = tmp_path / "other environment"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\necho "$1 $LD_LIBRARY_PATH" >>"{folder}/used"\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return folder


def test_only_jobs_that_may_use_a_gpu_run_in_its_environment(tmp_path, environment):
    folder = folder_with(tmp_path / "run", {"hardware": {"environment": str(environment)}})
    run(folder, "results/small/evaluation/pruned/onnxruntime-fp32.json")
    used = [line.split(" ", 1) for line in (environment / "used").read_text().splitlines()]
    names = [name.rpartition("/")[2] for name, _ in used]
    assert names[:2] == ["doctor.py", "train.py"] and names[-1] == "evaluate.py"
    assert sorted(names[2:-1]) == [*["build.py"] * 3, "reference.py"]  # side by side
    assert all(path.startswith(f"{environment}/lib/cuda") for _, path in used)
    assert all("" not in path.split(":") for _, path in used)  # empty: the current folder


def test_missing_files_of_the_configuration_stop_before_anything_runs(tmp_path):
    cases = {
        "/none.pdparams": {"train": {"init": "none.pdparams"}},
        "hardware.environment: none is not a Python env": {"hardware": {"environment": "none"}},
        "hardware.container: there is no file a.sif": {"hardware": {"container": "a.sif"}},
    }
    for number, (message, change) in enumerate(cases.items()):
        folder = folder_with(tmp_path / str(number), change)
        done = run(folder, "-n", check=False)
        assert done.returncode != 0 and message in done.stdout + done.stderr


def test_changed_initial_weights_rerun_the_training(tmp_path):
    folder = folder_with(tmp_path, {"train": {"epochs": 1}})
    run(folder, DENSE)
    shutil.copy(folder / DENSE, folder / "start.pdparams")
    folder_text = yaml.safe_load((folder / "config.yaml").read_text())
    changed = merged(folder_text, {"train": {"init": "start.pdparams"}})
    (folder / "config.yaml").write_text(yaml.safe_dump(changed))
    run(folder, DENSE)
    assert planned(run(folder, DENSE, "-n")) == set()
    content = (folder / "start.pdparams").read_bytes()
    (folder / "start.pdparams").write_bytes(content + b"\0")
    assert "train_dense" in planned(run(folder, DENSE, "-n"))


def test_imagenet_from_its_archives(tmp_path):
    deliver(tmp_path / "ilsvrc")
    settings = merged(TINY, {"run": "small", "data": {"source": "ilsvrc2012", "root": "ilsvrc"}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    target = "results/small/dataset/dataset.json"
    assert planned(run(tmp_path, target)) == {"unpack_imagenet", "prepare_dataset"}
    found = lists.read(tmp_path / "results" / "small" / "dataset")
    assert found.classes == [f"{w} {WORDS[w]}" for w in sorted(WORDS)]
    assert planned(run(tmp_path, target, "-n")) == set()
    # The images are not an output: they stay when their record is made again.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "ilsvrc/images").rglob("*.JPEG")}
    run(tmp_path, target, "--forcerun", "unpack_imagenet")
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "ilsvrc/images").rglob("*.JPEG")}
    with (tmp_path / "ilsvrc" / "ILSVRC2012_img_val.tar").open("ab") as archive:
        archive.write(bytes(512))
    assert planned(run(tmp_path, target, "-n")) >= {"unpack_imagenet", "prepare_dataset"}


def test_published_configurations_plan_the_whole_chain(tmp_path):
    deliver(tmp_path / "ilsvrc")
    for path in sorted((ROOT / "config").glob("imagenet*.yaml")):
        settings = merged(yaml.safe_load(path.read_text()), {"data": {"root": "ilsvrc"}})
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        rules = planned(run(tmp_path, "-n"))
        assert {
            "unpack_imagenet",
            "train_dense",
            "prune",
            "train_sparse",
            "build",
            "report",
        } <= rules
