"""Training steps: step.py WHO CASE BATCH IMAGES, with IMAGES a folder of the dataset stage."""

import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path

import networks
import numpy as np
import turns

SECONDS = 4  # per turn, roughly


def loop(settings, network, data):
    """The training loop of the pipeline, on image files; a turn is an epoch without validation."""
    state = start(settings, network, data)
    from twofour.train import display, loop

    def epoch():
        with display.Display(1, state.steps, 0, False) as shown:
            loop._updates(state, shown, lambda: 0)
        done, state.step = state.step, 0
        return done

    return epoch


def constant(settings, network, data):
    """The same program, fed one batch again and again, with nothing fetched."""
    state = start(settings, network, data)
    from twofour.network import architecture
    from twofour.train import training_graph

    images, labels = _batch(settings, network)
    if state.plan.layout == "NHWC":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    feed = {architecture.IMAGES: images, training_graph.LABELS: labels}
    update = state.update

    def epoch():
        for _ in range(state.steps):
            update._executor.run(update._last, feed=feed)
        return state.steps

    return epoch


def converting(settings, network, data):
    """The same, for the share of a step in which oneDNN turns tensors into other layouts.

    That is what its own profile says, primitive by primitive.
    """
    os.environ["DNNL_VERBOSE"] = "1"
    steps = constant(settings, network, data)
    flush = ctypes.CDLL(None).fflush

    def epoch():
        flush(None)
        before = os.dup(1)
        with tempfile.TemporaryFile("w+") as profile:
            os.dup2(profile.fileno(), 1)
            start = time.perf_counter()
            done = steps()
            flush(None)
            epoch.took += time.perf_counter() - start
            os.dup2(before, 1)
            os.close(before)
            profile.seek(0)
            ran = [line.split(",") for line in profile]
        epoch.converting += sum(float(t[-1]) / 1000 for t in ran if {"exec", "reorder"} <= {*t})
        return done

    epoch.took = epoch.converting = 0.0
    return epoch


def start(settings, network, data):
    """The pipeline's training, ready for its first step."""
    from twofour.data import lists
    from twofour.system import libraries
    from twofour.train import precision

    machine = libraries.start(settings.hardware, training=True)
    chosen = precision.choose(settings.train.precision, machine)
    from twofour.network import graph
    from twofour.train import parallel  # loads PaddlePaddle, as do the next two
    from twofour.train.plan import Plan, Start
    from twofour.train.state import State

    group = parallel.connect(graph.place(machine.device, machine.gpu))
    sections = (settings.seed, settings.data, settings.model, settings.train)
    plan = Plan(*sections, network, machine, chosen, group)
    return State(plan, lists.read(data), Start(), Path(tempfile.mkdtemp()))


def loader(settings, network, data):
    """The pipeline's loader alone, on the same files and cores."""
    state = start(settings, network, data)

    def epoch():
        return sum(1 for _ in state.feeder.epoch(0))

    return epoch


def torch_eager(settings, network, data):
    return _torch(settings, network, data, compiled=False)


def torch_bf16(settings, network, data):
    return _torch(settings, network, data, compiled=False, half=True)


def torch_compiled(settings, network, data):
    return _torch(settings, network, data, compiled=True)


def _torch(settings, network, data, compiled, half=False):
    from twofour.data import lists

    import torch
    from torch_nets import Net

    threads = settings.hardware.threads
    if threads != "auto":
        torch.set_num_threads(threads)
    train = settings.train
    net = Net(network).train().to(memory_format=torch.channels_last)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others}],
        lr=0.01,
        momentum=train.momentum,
    )
    entropy = torch.nn.CrossEntropyLoss(label_smoothing=train.label_smoothing)
    images, labels = _batch(settings, network)
    images = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels)
    forward = torch.compile(net) if compiled else net
    steps = len(lists.read(data).train[0]) // len(labels)

    def epoch():
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = entropy(forward(images), labels)
            loss.backward()
            optimizer.step()
        return steps

    return epoch


def _batch(settings, network):
    rng = np.random.default_rng(0)
    size, count = settings.data.image_size, settings.train.batch_size
    images = rng.standard_normal((count, network.input_channels, size, size))
    return images.astype(np.float32), rng.integers(0, network.classes, count)


WHO = {
    "loop": loop,
    "constant": constant,
    "converting": converting,
    "loader": loader,
    "torch_eager": torch_eager,
    "torch_compiled": torch_compiled,
    "torch_bf16": torch_bf16,
}


def main() -> None:
    who, case, batch, data = sys.argv[1:]
    settings, network = networks.case(case)
    settings = networks.with_batch(settings, int(batch))
    epoch = WHO[who](settings, network, data)
    start = time.perf_counter()
    epoch()
    start, _ = time.perf_counter(), epoch()
    epochs = max(1, round(SECONDS / (time.perf_counter() - start)))

    def rate() -> float:
        start = time.perf_counter()
        steps = sum(epoch() for _ in range(epochs))
        return steps * int(batch) / (time.perf_counter() - start)

    def share() -> float:
        epoch.took = epoch.converting = 0.0
        for _ in range(epochs):
            epoch()
        return epoch.converting / epoch.took

    turns.serve(share if who == "converting" else rate)


if __name__ == "__main__":
    main()
