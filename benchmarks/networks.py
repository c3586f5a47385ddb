"""The two networks that are measured, ResNet50 and the demo's, and random weights for them."""

from __future__ import annotations

from dataclasses import replace

from twofour import config
from twofour.network import architecture

import numpy as np
import turns

DEMO = turns.HERE.parent / "config" / "config.yaml"
# name: (configuration, classes)
CASES = {
    "ResNet50 224 px": (lambda: config.validated({}), 1000),
    "slim net 32 px": (lambda: config.load(str(DEMO)), 10),
}


def case(name: str) -> tuple[config.Config, architecture.Architecture]:
    """Configuration and network of one of CASES."""
    load, classes = CASES[name]
    settings = load()
    return settings, architecture.resnet(settings.model, classes)


def with_batch(settings: config.Config, batch: int) -> config.Config:
    """The same with another batch size, and one thread for each core the contestants may use."""
    train = replace(settings.train, batch_size=batch)
    hardware = replace(settings.hardware, threads="auto")
    return replace(settings, train=train, hardware=hardware)


def random_state(network: architecture.Architecture) -> dict[str, np.ndarray]:
    """Weights after He et al. 2015, batch norm that keeps the range; nothing else affects speed."""
    rng = np.random.default_rng(0)
    state = {}
    for conv in network.convs:
        scale = (2 / (conv.inputs * conv.kernel**2)) ** 0.5
        state[conv.weight] = (rng.standard_normal(conv.shape) * scale).astype(np.float32)
        for part, value in {"weight": 0.5, "bias": 0, "mean": 0, "variance": 1}.items():
            state[f"{conv.norm}.{part}"] = np.full(conv.outputs, value, np.float32)
    shape = (network.features, network.classes)
    state[architecture.CLASSIFIER] = (rng.standard_normal(shape) * 0.01).astype(np.float32)
    state[architecture.CLASSIFIER_BIAS] = np.zeros(network.classes, np.float32)
    return state
