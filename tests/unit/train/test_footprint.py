"""Memory and time of a training, told before they are spent."""

import json
import re
from dataclasses import replace

from twofour import config
from twofour.network import architecture
from twofour.system import memory
from twofour.system.errors import TwoFourError
from twofour.system.hardware import Machine
from twofour.system.progress import about
from twofour.train import estimate, footprint

import numpy as np
import pytest
from conftest import TINY, merged, program

RESNET50 = config.validated({"train": {"batch_size": 64}})
CPU, GPU = Machine("cpu", "some CPU", 2), Machine("gpu", "some GPU", 2, capability=(8, 0))


def network(settings, classes=1000):
    return architecture.resnet(settings.model, classes)


@pytest.mark.parametrize(
    ("name", "width", "blocks", "size", "layout"),
    [
        ("resnet50", 1, None, 224, "NHWC"),
        ("resnet18", 1, None, 97, "NCHW"),
        ("resnet34", 0.5, [1, 2, 1, 2], 64, "NHWC"),
        ("resnet152", 0.5, None, 160, "NHWC"),
    ],
)
def test_activations_are_the_variables_of_the_training_program(name, width, blocks, size, layout):
    from twofour.train import training_graph

    import paddle
    from plans import plan

    planned = plan(
        {"model": {"name": name, "width": width, "blocks": blocks}},
        {"data": {"image_size": size, "resize": size}, "train": {"layout": layout}},
    )
    with paddle.static.scope_guard(paddle.static.Scope()):
        main = training_graph.build(planned, lambda update: 0.1).main
    sizes = [training_graph.tensor_bytes(main, batch) for batch in (1, 101)]
    per_image = (sizes[1] - sizes[0]) / 100
    assert footprint.activation_bytes(planned.network, size) == pytest.approx(per_image, rel=0.01)


def test_least_on_a_gpu_is_what_the_backward_pass_reads():
    from twofour.train import training_graph

    import paddle
    from plans import plan

    planned = plan({"model": {"name": "resnet50", "width": 0.25, "blocks": None}})
    with paddle.static.scope_guard(paddle.static.Scope()):
        main = training_graph.build(planned, lambda update: 0.1).main
    block, read = main.global_block(), set()
    for op in block.ops:
        if op.type.endswith("_grad"):
            read |= {name for name in op.input_arg_names if "@GRAD" not in name}
    held = sum(
        4 * abs(int(np.prod(block.var(name).shape)))
        for name in read
        if not block.var(name).persistable and block.var(name).shape[:1] == (-1,)
    )
    size = planned.data.image_size
    activations = footprint.activation_bytes(planned.network, size)
    assert held / activations == pytest.approx(footprint._READ_BACKWARD, rel=0.1)


# The peaks of whole trainings on a CPU (maximum resident set size, /usr/bin/time -v; AMD EPYC).
@pytest.mark.parametrize(
    ("name", "width", "blocks", "size", "batch", "accumulation", "measured_mb"),
    [
        ("resnet50", 1, None, 224, 4, 1, 2730),
        ("resnet50", 1, None, 224, 16, 1, 7144),
        ("resnet18", 1, None, 224, 16, 1, 2177),
        ("resnet50", 1, None, 96, 16, 1, 2402),
        ("resnet50", 0.25, [1, 1, 1, 1], 32, 32, 1, 588),
        ("resnet50", 1, None, 224, 8, 2, 6791),
    ],
)
def test_estimates_are_within_a_tenth_of_what_was_measured(
    name, width, blocks, size, batch, accumulation, measured_mb
):
    model = config.validated({"model": {"name": name, "width": width, "blocks": blocks}}).model
    found = footprint.training_bytes(
        architecture.resnet(model, 2), size, batch, accumulates=accumulation > 1
    )
    assert found / 1e6 == pytest.approx(measured_mb, rel=0.1)


def test_too_large_a_batch_is_refused_with_one_that_fits():
    """The README's own example, which drove a machine of 22 GB into its swap."""
    with pytest.raises(TwoFourError) as caught:
        footprint.require(RESNET50, network(RESNET50), CPU, "fp32", 22e9)
    said = str(caught.value)
    assert "train.batch_size is 64: the training would need about 24.6 GB" in said
    largest, batch, accumulation = map(
        int, re.search(r"fits is (\d+); .* to (\d+) and train.accumulation to (\d+)", said).groups()
    )
    assert batch * accumulation == 64
    for fits in ({"batch_size": largest}, {"batch_size": batch, "accumulation": accumulation}):
        changed = replace(RESNET50, train=replace(RESNET50.train, **fits))
        footprint.require(changed, network(changed), CPU, "fp32", 22e9)
    larger = replace(RESNET50, train=replace(RESNET50.train, batch_size=largest + 1))
    with pytest.raises(TwoFourError):
        footprint.require(larger, network(larger), CPU, "fp32", 22e9)


def test_processes_of_a_cpu_share_its_memory_and_gpus_have_their_own():
    two = replace(CPU, processes=2)
    small = replace(RESNET50, train=replace(RESNET50.train, batch_size=8))
    one = footprint.require(small, network(small), CPU, "fp32", None)
    assert footprint.require(small, network(small), two, "fp32", None) == pytest.approx(2 * one)
    on_one = footprint.require(RESNET50, network(RESNET50), GPU, "amp_fp16", 80e9)
    assert footprint.require(
        RESNET50, network(RESNET50), replace(GPU, processes=8), "amp_fp16", 80e9
    ) == pytest.approx(on_one)
    assert on_one < footprint.require(RESNET50, network(RESNET50), GPU, "fp32", 80e9)


def test_published_batches_fit_on_the_gpus_that_they_were_published_for():
    """256 images in AMP and TF32 on an A100 of 80 GB (NVIDIA's recipe), AMP on one of 40 GB."""
    recipe = config.validated({})
    for precision, free in (("amp_fp16", 85e9), ("tf32", 85e9), ("amp_fp16", 42e9)):
        footprint.require(recipe, network(recipe), GPU, precision, free)


def test_where_not_even_a_few_images_fit_the_network_is_named():
    with pytest.raises(TwoFourError, match=r"a smaller network \(model.name, model.width\)"):
        footprint.require(RESNET50, network(RESNET50), CPU, "fp32", 1e9)


def test_a_training_that_does_not_fit_ends_before_it_begins(prepared, tmp_path):
    large = merged(TINY, {"model": {"name": "resnet152", "width": 4, "blocks": None}})
    large = merged(large, {"data": {"image_size": 1024, "resize": 1024}})
    text = json.dumps(large)
    done = program(
        *("train.py", "--config", text, "--data", prepared, "--out", tmp_path / "out"), check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the training would need about" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_free_memory_is_the_least_of_all_limits(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n")
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    monkeypatch.setattr(memory.cgroup, "free_memory", lambda: None)
    assert memory.free(meminfo) == 4096e6
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "3000")
    assert memory.free(meminfo) == 3000 << 20
    monkeypatch.setattr(memory.cgroup, "free_memory", lambda: 2e9)
    assert memory.free(meminfo) == 2e9
    monkeypatch.undo()
    assert memory.free() > 1e8


def test_first_training_tells_how_long_it_and_the_run_take(monkeypatch, caplog):
    work = estimate.Work(dense=1, sparse=1, passes=6, benchmark_images=30_000, jobs=20)
    estimate.announce(work)
    now = [0.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    said = []
    monkeypatch.setattr(estimate.log, "info", lambda text, *values: said.append(text % values))

    def steps(clock, count, seconds):
        for _ in range(count):
            now[0] += seconds
            clock.step()

    def clock(sparse=False, done=0):
        return estimate.Clock(10, 100, done, 10, 300, sparse)

    steps(clock(), 50, 1.0)  # 0.1 s an image; an epoch takes 100 s and 10 s for its validation
    # The run: twice that training, (6 · 300 + 30000) / 30 s and 20 s.
    assert said == [
        "about 18 min until this training ends, 55 min until the run does (2 trainings, "
        "evaluations and benchmarks)"
    ]
    said.clear()
    steps(clock(sparse=True, done=500), 50, 1.0)
    assert said == ["about 9 min until this training ends"]
    said.clear()
    estimate.announce(replace(work, dense=0))  # only what is sparse runs again
    steps(clock(sparse=True), 4, 0.1)
    assert not said  # too early to tell
    steps(clock(sparse=True), 50, 1.0)
    assert "until the run does (1 training, " in said.pop()
    estimate.announce(replace(work, dense=0, sparse=3))  # which of them is the first?
    steps(clock(sparse=True), 50, 1.0)
    assert said.pop() == "about 18 min until this training ends"
    monkeypatch.delenv(estimate.RUN)
    steps(clock(), 50, 1.0)
    assert said == ["about 18 min until this training ends"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42, "42 s"), (600, "10 min"), (7200, "2.0 h"), (90000, "25 h"), (900000, "10 days")],
)
def test_durations_have_the_unit_that_suits_them(seconds, text):
    assert about(seconds) == text
