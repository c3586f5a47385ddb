"""Another workflow imports ours, from a folder or a git repository, and is not affected by it."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, TINY, make_images, merged, named_rules

pytestmark = pytest.mark.workflow

SNAKEFILE = """
configfile: "own.yaml"


module twofour:
    snakefile: "{source}"
    config: config["classifier"]


use rule * from twofour as twofour_*


rule mine:
    default_target: True
    input:
        weights=rules.twofour_train_dense.output.weights,
    output:
        "mine.txt",
    shell:
        'echo "$PATH" > {{output}}; echo "tied:${{{{TWOFOUR_TIED-}}}}" >> {{output}}'
"""


def importing(folder, source):
    """A separate workflow in ``folder`` that imports ours from ``source``."""
    folder.mkdir()
    make_images(folder / "my images", count=8)
    settings = merged(TINY, {"run": "tiny", "data": {"root": "my images"}, "train": {"epochs": 1}})
    (folder / "own.yaml").write_text(yaml.safe_dump({"classifier": settings, "other": 1}))
    (folder / "Snakefile").write_text(SNAKEFILE.format(source=source))
    return folder


def run(folder, *arguments):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / ".cache")}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return named_rules(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The working tree as a commit of a git repository."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    git = ("git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "all")):
        subprocess.run([*git, *command], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("kind", ["folder", "repository"])
def test_another_workflow_imports_this_one(kind, tmp_path, repository):
    source = f"{ROOT}/workflow/Snakefile"
    if kind == "repository":
        source = f"git+file://{repository}/workflow/Snakefile@HEAD"
    folder = importing(tmp_path / "own", source)
    ran = run(folder)
    assert ran == {"twofour_prepare_dataset", "twofour_train_dense", "mine"}
    assert (folder / "results" / "tiny" / "dense" / "train.json").is_file()
    path, *leaked = (folder / "mine.txt").read_text().splitlines()
    assert path == os.environ["PATH"]  # ours does not change the path of its rules
    assert leaked == ["tied:"]
    assert run(folder, "-n") == set()
    # A key of the importing workflow is none of ours.
    assert run(folder, "-n", "--config", "train=5") == set()
    # The whole workflow can be requested by the name of our target.
    wanted = run(folder, "-n", "twofour_all")
    assert {"twofour_train_sparse", "twofour_compare", "twofour_report"} <= wanted
