"""Several processes train as one does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from twofour.data import lists
from twofour.network import weights
from twofour.system import paddle_versions
from twofour.system.errors import TwoFourError
from twofour.train import parallel

import numpy as np
import paddle
import pandas as pd
import psutil
import pytest
from conftest import SCRIPTS, TINY, make_images, merged, program
from plans import plan
from trainings import at_checkpoint

# Without the high learning rate of the first epochs, so that rounding differences do not grow.
ONE = {"train": {"batch_size": 8, "epochs": 4, "learning_rate": 0.2}}
HALF = {"train": {"batch_size": 4, "epochs": 4, "learning_rate": 0.2}}
TWO = {"hardware": {"cpu_processes": 2}}
TWICE = {"train": {"accumulation": 2}}


def command(data, out, *changes):
    config = json.dumps(merged(TINY, *changes))
    return ["train.py", "--config", config, "--data", data, "--out", out]


def train(data, out, *changes, **options):
    return program(*command(data, out, *changes), **options)


def started(data, out, *changes):
    """A training in the background, in its first epochs."""
    words = [sys.executable, str(SCRIPTS / "train.py"), *map(str, command(data, out, *changes)[1:])]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    return at_checkpoint(running, out)


def workers(running) -> list[psutil.Process]:
    """The processes that train, by rank."""
    found = {}
    for process in psutil.Process(running.pid).children(recursive=True):
        rank = process.environ().get(parallel.RANK)
        parent = process.parent().environ().get(parallel.RANK)
        if rank is not None and parent is None:
            found[int(rank)] = process
    return [found[rank] for rank in sorted(found)]


def rows(out):
    return pd.read_csv(out / "metrics.csv")


def trained(out):
    """The weights that the optimiser updates: all but the running statistics."""
    state = weights.load(out / "model.pdparams")
    return {n: w for n, w in state.items() if not n.endswith((".mean", ".variance"))}


@pytest.fixture(scope="module")
def two(prepared, tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    train(prepared, out, HALF, TWO)
    return out


@pytest.fixture(scope="module")
def twice(prepared, tmp_path_factory):
    """One process that accumulates the gradients of two batches."""
    out = tmp_path_factory.mktemp("twice")
    train(prepared, out, HALF, TWICE)
    return out


def test_two_processes_equal_one_that_takes_their_batches_in_turn(two, twice):
    """Same images, crops and statistics of batches, so only rounding may differ."""
    np.testing.assert_allclose(rows(two)["train_loss"], rows(twice)["train_loss"], rtol=1e-6)
    assert rows(two)["lr"].tolist() == rows(twice)["lr"].tolist()
    assert rows(two)["images"].tolist() == rows(twice)["images"].tolist() == [40] * 4
    for name, weight in trained(two).items():
        np.testing.assert_allclose(weight, trained(twice)[name], rtol=1e-5, atol=1e-7)
    record = json.loads((two / "train.json").read_text())
    assert (record["processes"], record["images_per_step"], record["batch_size"]) == (2, 8, 4)


def test_two_processes_learn_as_one_with_the_whole_batch(two, prepared, tmp_path):
    """Batch norm sees 4 images instead of 8, and other crops, so the curves agree only to 0.3."""
    train(prepared, tmp_path, ONE)
    assert rows(tmp_path)["lr"].tolist() == rows(two)["lr"].tolist()
    np.testing.assert_allclose(rows(tmp_path)["train_loss"], rows(two)["train_loss"], atol=0.3)


def test_validation_counts_each_image_once_with_uneven_and_empty_parts(tmp_path):
    """5 images among 3 processes, and 2 among 3: Tally raises if one is missed or seen twice."""
    for count in (5, 2):
        root = make_images(tmp_path / f"images{count}", count=12)
        for folder in (root / "val").iterdir():
            keep = -(-count // 2) if folder.name == "bright" else count // 2
            for path in sorted(folder.iterdir())[keep:]:
                path.unlink()
        data = tmp_path / f"data{count}"
        program("prepare_dataset.py", "--root", root, "--out", data, "--workers", 1)
        out = tmp_path / f"out{count}"
        small = {"train": {"epochs": 1, "batch_size": 2}, "hardware": {"cpu_processes": 3}}
        train(data, out, small)
        record = json.loads((out / "train.json").read_text())
        assert record["val_images"] == count
        # The same network, evaluated by one process
        assert record["top1"] == pytest.approx(accuracy(data, out), abs=1e-9)


def accuracy(data, out) -> float:
    from twofour import config
    from twofour.data.loader import Loader, Pipeline
    from twofour.network import architecture
    from twofour.network.inference import Inference
    from twofour.train.metrics import Tally

    settings, images = config.validated(TINY), lists.read(data)
    network = architecture.resnet(settings.model, len(images.classes))
    predict = Inference(network, settings.data.image_size, "cpu")
    predict.load(weights.load(out / "model.pdparams"))
    tally = Tally(images.val[1])
    pipeline = Pipeline(settings.data, 3, 3, training=False, threads=1)
    loader = Loader(images.val[0], pipeline)
    for batch, positions in loader.epoch():
        tally.add(predict(batch), positions)
    return tally.result()["top1"]


LONG = {"train": {"epochs": 12}}


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    train(prepared, out, HALF, TWO, LONG)
    return out


@pytest.fixture(scope="module")
def interrupted(prepared, tmp_path_factory):
    """A training of two processes that was told to stop."""
    out = tmp_path_factory.mktemp("interrupted")
    running = started(prepared, out, HALF, TWO, LONG)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "saved, so the same command resumes from here" in said and "Traceback" not in said
    assert not (out / "model.pdparams").exists()
    return out


def copy_of(folder, to):
    shutil.copytree(folder, to)
    return to


def test_resumed_equals_uninterrupted(interrupted, whole, prepared, tmp_path):
    out = copy_of(interrupted, tmp_path / "out")
    assert "resuming at epoch" in train(prepared, out, HALF, TWO, LONG).stderr
    assert (out / "model.pdparams").read_bytes() == (whole / "model.pdparams").read_bytes()
    assert rows(out)["val_loss"].tolist() == rows(whole)["val_loss"].tolist()


def test_resumes_with_another_number_of_processes(interrupted, whole, prepared, tmp_path):
    out = copy_of(interrupted, tmp_path / "out")
    assert "resuming at epoch" in train(prepared, out, HALF, TWICE, LONG).stderr
    np.testing.assert_allclose(rows(out)["train_loss"], rows(whole)["train_loss"], rtol=1e-5)
    for name, weight in trained(whole).items():
        np.testing.assert_allclose(weight, trained(out)[name], rtol=1e-4, atol=1e-6)
    out = copy_of(interrupted, tmp_path / "other")
    done = train(prepared, out, HALF, LONG, {"train": {"epochs": 2}})
    assert "it was made with other shards" in done.stderr  # half the images of a step


def test_process_that_dies_ends_the_job_with_its_number(prepared, tmp_path):
    running = started(prepared, tmp_path, HALF, TWO, {"train": {"epochs": 3000}})
    began = time.monotonic()
    processes = workers(running)
    assert len(processes) == 2
    processes[1].kill()
    _, said = running.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert running.returncode == 1
    assert "process 1 of 2 of the training ended without an error message" in said, said
    assert "Traceback" not in said
    assert not psutil.pid_exists(processes[0].pid)


WILD = {
    "train": {
        **{"epochs": 5, "learning_rate": 100, "batch_size": 20, "weight_decay": 1.0},
        **{"momentum": 0.99, "warmup_epochs": 0},
    }
}


def test_error_of_all_processes_is_one_sentence(prepared, tmp_path):
    done = train(prepared, tmp_path, WILD, TWO, check=False)
    assert done.returncode == 1
    assert done.stderr.count("loss is nan") == 1 and "Traceback" not in done.stderr


def test_no_process_outlives_the_one_that_started_them(prepared, tmp_path):
    running = started(prepared, tmp_path, HALF, TWO, {"train": {"epochs": 3000}})
    family = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.wait()
    gone, alive = psutil.wait_procs(family, timeout=40)
    for process in alive:
        process.kill()
    assert not alive and gone


def test_processes_that_begin_differently_are_refused():
    """As if a slow file system showed one an older checkpoint, or GPUs drew other numbers."""
    from twofour.train.state import State

    def begun(others):
        run = State.__new__(State)
        run.epoch, run.step, run.out = 2, 5, "out"
        run._conv_weights = lambda: {"w": np.ones(3, np.float32)}
        run.plan = plan(group=parallel.Group())
        run.plan.group.gather = lambda mine: [mine, *others]
        return run

    begun([np.array([2, 5, 3.0])])._require_agreement()
    for other in ([1, 5, 3.0], [2, 4, 3.0], [2, 5, 3.0000001]):
        with pytest.raises(TwoFourError, match="begin differently, some at epoch 3, step 5"):
            begun([np.array(other)])._require_agreement()


def test_too_many_processes_are_told_before_any_starts(prepared, tmp_path):
    done = train(prepared, tmp_path, TWO, {"train": {"batch_size": 30}}, check=False)
    assert done.returncode == 1
    assert "a step takes 2 batches (hardware.gpus or hardware.cpu_processes" in done.stderr
    assert not (tmp_path / "ranks").exists()


def test_failed_processes_leave_no_environment_on_the_disk(prepared, tmp_path):
    environment = {**os.environ, "MY_SECRET": "s3cr3t-words"}
    done = train(prepared, tmp_path, WILD, TWO, check=False, env=environment)
    assert done.returncode == 1
    left = list((tmp_path / "ranks").iterdir())
    assert left and all("s3cr3t-words" not in path.read_text() for path in left)


def test_sums_are_divided_among_another_number_of_processes():
    from twofour.train import training_graph as graphs
    from twofour.train.state import _local_state

    two = [
        {graphs.LOSS_SUM: np.ones(1) * n, graphs.FINITE_STEPS: np.ones(1) * 10, "x": np.ones(1)}
        for n in (3, 5)
    ]
    one = _local_state(two, parallel.Group(0, 1))
    assert (one[graphs.LOSS_SUM], one[graphs.FINITE_STEPS], one["x"]) == (8, 20, 1)


def test_group_exchanges_numbers_and_texts():
    alone = parallel.Group()
    assert alone.any(False, True) == [False, True]
    assert alone.gather_bytes([b"ab", b""]) == [[b"ab", b""]]
    np.testing.assert_array_equal(alone.sum(np.arange(3)), np.arange(3))


@pytest.mark.skipif(
    not paddle.is_compiled_with_cuda(), reason="this PaddlePaddle was built without NCCL"
)
def test_processes_on_gpus_meet_in_one_nccl_communicator(monkeypatch):
    """The program that PaddlePaddle's fleet makes for it; no GPU has run it."""
    from paddle.distributed import fleet
    from paddle.distributed.fleet.meta_optimizers.common import CollectiveHelper

    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "127.0.0.1:6170,127.0.0.1:6171")
    monkeypatch.setenv("PADDLE_CURRENT_ENDPOINT", "127.0.0.1:6171")
    paddle.enable_static()
    roles = fleet.base.role_maker.PaddleCloudRoleMaker(is_collective=True)
    startup = parallel.nccl_startup(CollectiveHelper(roles, wait_port=False), roles)
    ops = {op.type: op for op in startup.global_block().ops}
    assert {"c_gen_nccl_id", "c_comm_init", paddle_versions.all_reduce()} <= set(ops)
    assert ops["c_comm_init"].attr("nranks") == 2
    assert ops["c_comm_init"].attr("ring_id") == parallel.RING
