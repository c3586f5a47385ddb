"""The workflow on a real SLURM: the same results, whatever happens to its jobs."""

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cluster as clusters
import pandas as pd
import psutil
import pytest
import yaml
from conftest import ROOT, TINY, make_images, merged, named_rules, snakemake

LACKING = clusters.lacking()
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "it is here"),
]

# One backend and batch size: 13 SLURM jobs for the whole workflow.
SMALL = {
    "run": "tiny",
    "data": {"root": "my images"},
    "deploy": {"backends": ["onnxruntime"]},
    "benchmark": {"batch_sizes": [1]},
}
DENSE = Path("results/tiny/dense/model.pdparams")
LONG = {"train": {"epochs": 120}}
# Two processes, with as many images in a step as one process has.
PAIRS = {"train": {"epochs": 60, "batch_size": 4}}
PROFILE = ROOT / "profiles" / "slurm" / "config.yaml"
HASTE = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    made = clusters.Cluster(tmp_path_factory.mktemp("slurm") / "cluster")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def configured(folder: Path, *changes: dict) -> Path:
    """``folder`` with images, config.yaml and the profile, in which the partition is filled in."""
    if not folder.exists():
        make_images(folder / "my images")
    (folder / "config.yaml").write_text(yaml.safe_dump(merged(TINY, SMALL, *changes)))
    text, edits = re.subn(
        r"(?m)^(  slurm_partition: )\w+", rf"\g<1>{clusters.PARTITION}", PROFILE.read_text()
    )
    assert edits == 1
    (folder / "profile").mkdir(exist_ok=True)
    (folder / "profile" / "config.yaml").write_text(text)
    return folder


def locally(folder, *arguments, **options):
    return snakemake(folder, "--configfile", "config.yaml", "--cores", 2, *arguments, **options)


def submitted(cluster, folder, *arguments) -> subprocess.Popen:
    """Snakemake with the profile, in the background."""
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile"]
    command += ["--profile", "profile", "--configfile", "config.yaml", *HASTE, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env={**cluster.environment, "XDG_CACHE_HOME": str(folder / ".cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def on_cluster(cluster, folder, *arguments, status=0) -> str:
    """Run the workflow on the cluster and return Snakemake's messages."""
    running = submitted(cluster, folder, *arguments)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == status, said + cluster.logs()
    assert "Traceback" not in said, said
    return said


def jobs_of(cluster, folder) -> list[dict[str, str]]:
    return [job for job in cluster.jobs() if job["WorkDir"] == str(folder)]


# --- the whole workflow ---


@pytest.fixture(scope="module")
def chain(cluster, tmp_path_factory):
    """Folders of a finished run on the cluster and of one that was made locally."""
    there = configured(tmp_path_factory.mktemp("there") / "work")
    here = configured(tmp_path_factory.mktemp("here") / "work")
    running = submitted(cluster, there)
    locally(here)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said + cluster.logs()
    return there, here


def test_the_same_results_as_locally(chain):
    there, here = (folder / "results" / "tiny" for folder in chain)
    for model in ("dense", "sparse"):
        name = f"{model}/model.pdparams"
        assert (there / name).read_bytes() == (here / name).read_bytes()
    columns = ["model", "backend", "batch_size", "top1", "top5", "images", "density"]
    tables = [pd.read_csv(path / "comparison.csv")[columns] for path in (there, here)]
    pd.testing.assert_frame_equal(*tables)
    assert (there / "report.html").stat().st_size > 0
    assert "epoch 2/2" in (there / "logs" / "train_sparse.log").read_text()


def test_up_to_date_on_the_other_side(cluster, chain):
    there, here = chain
    done = locally(there, "-n")
    assert named_rules(done.stdout + done.stderr) == set()
    assert named_rules(on_cluster(cluster, here, "-n")) == set()


def test_independent_work_runs_side_by_side_and_benchmarks_alone(cluster, chain):
    runs = [Interval(job) for job in jobs_of(cluster, chain[0])]
    training = [r for r in runs if r.rule.startswith("rule_train_sparse")]
    files = [r for r in runs if r.rule.startswith("group_") or "export" in r.rule]
    assert any(a.overlaps(b) for a in training for b in files), runs
    measured = [r for r in runs if r.rule.startswith("rule_benchmark")]
    assert measured
    for one in measured:
        assert one.job["OverSubscribe"] == "NO"
        others = [r for r in runs if r is not one and r.job["NodeList"] == one.job["NodeList"]]
        assert not any(one.overlaps(other) for other in others), runs
    small = {r.rule for r in runs} & {
        f"rule_{n}" for n in ("prune", "compare", "plot", "report", "list_models")
    }
    assert not small  # they run where Snakemake does


class Interval:
    """When a job ran, and which rule it belongs to."""

    def __init__(self, job):
        self.job, self.rule = job, job["Comment"]
        self.start, self.end = (
            datetime.datetime.fromisoformat(job[key]) for key in ("StartTime", "EndTime")
        )

    def overlaps(self, other) -> bool:
        return self.start < other.end and other.start < self.end

    def __repr__(self):
        return f"{self.rule} {self.start:%X}–{self.end:%X}"


# --- jobs that are disturbed ---


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with all that the dense training needs, and its weights when undisturbed."""
    folder = configured(tmp_path_factory.mktemp("begun") / "work", LONG)
    locally(folder, "--until", "prepare_dataset")
    whole = tmp_path_factory.mktemp("whole") / "work"
    shutil.copytree(folder, whole)
    locally(whole, DENSE)
    return folder, (whole / DENSE).read_bytes()


class Disturbed:
    """A dense training on the cluster that is disturbed once it has a checkpoint."""

    def __init__(self, cluster, folder, begun, *arguments):
        self.cluster, self.folder = cluster, folder
        shutil.copytree(begun, folder)
        self.running = submitted(cluster, folder, DENSE, *arguments)
        checkpoints = folder / "results" / "tiny" / "dense" / "checkpoints"
        cluster.wait(lambda: list(checkpoints.glob("step*.npz")), "checkpoint", 120)

    def job(self) -> dict[str, str]:
        """The job that trains."""
        (job,) = [j for j in jobs_of(self.cluster, self.folder) if j["JobState"] == "RUNNING"]
        return job

    def processes(self) -> list[psutil.Process]:
        """The processes that train."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            if process.info["cwd"] == str(self.folder) and any("train.py" in w for w in words[:2]):
                found.append(process)
        return found

    def end(self) -> tuple[bytes, list[dict[str, str]], str]:
        """The weights, the jobs that it took, and what Snakemake said."""
        said, _ = self.running.communicate(timeout=300)
        assert self.running.returncode == 0, said + self.cluster.logs()
        log = self.folder / "results" / "tiny" / "logs" / "train_dense.log"
        assert "resuming at epoch" in log.read_text()
        record = json.loads((self.folder / DENSE).with_name("train.json").read_text())
        assert record["resumed"] >= 1
        return (self.folder / DENSE).read_bytes(), jobs_of(self.cluster, self.folder), said


def cancelled(run):
    run.cluster.run("scancel", run.job()["JobId"])


def put_back(run):
    run.cluster.run("scontrol", "requeue", run.job()["JobId"])


def halted(run):
    """Halt it until SLURM, which counts in minutes, signals or ends it."""
    for process in run.processes():
        process.send_signal(signal.SIGSTOP)


# Name: what happens, options for Snakemake, and the number of jobs needed.
MINUTES = ("--set-resources", "train_dense:runtime=attempt * 2 - 1")
EVENTS = {
    "time_limit": (halted, MINUTES, 2),
    "warning": (
        halted,
        ("--set-resources", "train_dense:runtime=2", "train_dense:slurm_extra='--signal=USR1@30'"),
        1,
    ),
    "scancel": (cancelled, (), 2),
    "requeue": (put_back, (), 1),
}


@pytest.fixture(scope="module")
def together(cluster, chain, begun, tmp_path_factory):
    """The runs that most tests below wait for, several at a time: name → its future."""
    base = tmp_path_factory.mktemp("together")

    def disturb(name):
        happens, options, _ = EVENTS[name]
        run = Disturbed(cluster, base / name, begun[0], *options)
        happens(run)
        return run.end()

    with ThreadPoolExecutor(4) as pool:
        futures = {name: pool.submit(disturb, name) for name in EVENTS}
        futures["nodes"] = pool.submit(train_on_two_nodes, cluster, base, begun[0])
        futures["gpu"] = pool.submit(ask_for_a_gpu, cluster, base / "gpu", begun[0])
        yield futures


@pytest.mark.parametrize("event", EVENTS)
def test_a_disturbed_training_ends_with_the_undisturbed_result(together, begun, event):
    weights, jobs, said = together[event].result()
    assert weights == begun[1]
    _, _, count = EVENTS[event]
    assert len(jobs) == count, jobs
    if count == 1:
        assert int(jobs[0]["Restarts"]) == 1
    if event == "time_limit":
        assert "TIMEOUT" in said


def train_on_two_nodes(cluster, base, begun):
    """Folders of a training on two nodes and of one in two processes, and the first one's job."""
    one, spread = base / "one", base / "spread"
    shutil.copytree(begun, one)
    configured(one, PAIRS, {"hardware": {"cpu_processes": 2}})
    shutil.copytree(begun, spread)
    configured(spread, PAIRS, {"hardware": {"nodes": 2}})
    run = Disturbed(cluster, base / "nodes", spread)
    nodes = run.job()["NumNodes"]
    # What SLURM does shortly before the time limit
    cluster.run("scancel", "--signal=USR1", run.job()["JobId"])
    locally(one, DENSE)
    _, jobs, _ = run.end()
    return run.folder, one, nodes, jobs


def test_two_nodes_equal_one(together):
    """The two are even told that their time is nearly up; they are requeued and resume."""
    spread, one, nodes, (job,) = together["nodes"].result()
    assert nodes == "2" and int(job["Restarts"]) == 1
    assert (spread / DENSE).read_bytes() == (one / DENSE).read_bytes()
    record = json.loads((spread / DENSE).with_name("train.json").read_text())
    assert (record["processes"], record["images_per_step"]) == (2, 8)


def ask_for_a_gpu(cluster, folder, begun):
    shutil.copytree(begun, folder)
    configured(folder, LONG, {"hardware": {"device": "gpu"}})
    said = on_cluster(cluster, folder, DENSE, "--retries", 0, status=1)
    return said, jobs_of(cluster, folder)


def test_gpu_rules_ask_for_gpus_and_a_failed_one_shows_its_error_and_log(together):
    """The fake GPU is not a real one, and the training says so."""
    said, (job,) = together["gpu"].result()
    assert job["TresPerJob"] == "gres:gpu:1"
    told = "error: train_dense: hardware.device is gpu, but nvidia-smi finds no GPU"
    assert said.splitlines()[-1].startswith(told)
    assert re.search(r"train_dense failed.*; its log: results/tiny/logs/train_dense.log", said)


def test_a_node_that_fails(cluster, together, begun, tmp_path):
    for future in together.values():
        future.exception()  # wait for the others, whose jobs it would end
    run = Disturbed(cluster, tmp_path / "work", begun[0])
    node = run.job()["NodeList"]
    cluster.fail_node(node)
    try:
        weights, (job,), _ = run.end()
    finally:
        cluster.start_node(node)
        cluster.wait(lambda: "down" not in " ".join(cluster.states()), f"node {node}")
    assert weights == begun[1]
    assert int(job["Restarts"]) == 1 and job["NodeList"] != node


def test_several_nodes_without_slurm_are_a_sentence(begun, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(begun[0], folder)
    configured(folder, {"hardware": {"nodes": 2}})
    done = locally(folder, DENSE, check=False)
    assert done.returncode == 1
    assert "hardware.nodes is 2, but this is not a SLURM job" in done.stdout + done.stderr
    assert "SLURM_JOB_ID" not in os.environ
