"""Training steps: step.py WHO CASE BATCH IMAGES, with IMAGES a folder of the dataset stage."""

import contextlib
import sys
import tempfile
import time
from pathlib import Path

import networks
import numpy as np
import turns

SECONDS = 4  # of a turn, about


def loop(settings, network, data):
    """The training loop of the pipeline, on image files; a turn is an epoch without validation."""
    training = start(settings, network, data)
    from twofour.system import progress

    @contextlib.contextmanager
    def silent():
        with progress.bar(1, "training", "step") as bar:
            yield bar

    def epoch():
        with silent() as bar:
            loop._train_epoch(bar, lambda: 0)
        done, loop.step = loop.step, 0
        return done

    return epoch


def constant(settings, network, data):
    """The same program, fed one batch again and again, nothing fetched."""
    training = start(settings, network, data)
    from twofour.network import graph
    from twofour.train import training_graph

    images, labels = _batch(settings, network)
    if loop.layout == "NHWC":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    feed = {graph.IMAGES: images, training_graph.LABELS: labels}

    def epoch():
        for _ in range(loop.steps):
            loop.executor.run(loop._step_program, feed=feed)
        return loop.steps

    return epoch


def start(settings, network, data):
    """The pipeline's training, ready for its first step."""
    from twofour.data import dataset
    from twofour.system import hardware, libraries

    machine = libraries.start(settings["hardware"], training=True)
    precision = hardware.precision(settings["train"]["precision"], machine)
    from twofour.network import graph
    from twofour.train import loop, parallel  # they load PaddlePaddle

    out = Path(tempfile.mkdtemp())
    group = parallel.connect(graph.place(machine.device, machine.gpu))
    images = dataset.read(data)
    return loop.Training(settings, machine, precision, network, images, {}, out, group)


def torch_eager(settings, network, data):
    return _torch(settings, network, data, compiled=False)


def torch_compiled(settings, network, data):
    return _torch(settings, network, data, compiled=True)


def _torch(settings, network, data, compiled):
    from twofour.data import dataset

    import torch
    from torch_nets import Net

    threads = settings["hardware"]["threads"]
    if threads != "auto":
        torch.set_num_threads(threads)
    train = settings["train"]
    net = Net(network).train().to(memory_format=torch.channels_last)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": train["weight_decay"]}, {"params": others}],
        lr=0.01,
        momentum=train["momentum"],
    )
    entropy = torch.nn.CrossEntropyLoss(label_smoothing=train["label_smoothing"])
    images, labels = _batch(settings, network)
    images = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels)
    forward = torch.compile(net) if compiled else net
    steps = len(dataset.read(data).train[0]) // len(labels)

    def epoch():
        for _ in range(steps):
            optimizer.zero_grad()
            entropy(forward(images), labels).backward()
            optimizer.step()
        return steps

    return epoch


def _batch(settings, network):
    rng = np.random.default_rng(0)
    size, count = settings["data"]["image_size"], settings["train"]["batch_size"]
    images = rng.standard_normal((count, network.input_channels, size, size))
    return images.astype(np.float32), rng.integers(0, network.classes, count)


WHO = {
    "loop": loop,
    "constant": constant,
    "torch_eager": torch_eager,
    "torch_compiled": torch_compiled,
}


def main() -> None:
    who, case, batch, data = sys.argv[1:]
    settings, network = networks.case(case)
    settings["train"]["batch_size"] = int(batch)
    settings["hardware"]["threads"] = "auto"  # as many as the contestants may use cores
    epoch = WHO[who](settings, network, data)
    start = time.perf_counter()
    epoch()
    start, _ = time.perf_counter(), epoch()
    epochs = max(1, round(SECONDS / (time.perf_counter() - start)))

    def turn() -> float:
        start = time.perf_counter()
        steps = sum(epoch() for _ in range(epochs))
        return steps * int(batch) / (time.perf_counter() - start)

    turns.serve(turn)


if __name__ == "__main__":
    main()
