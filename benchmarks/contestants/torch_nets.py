"""The networks of twofour.network.architecture in PyTorch, for the contestants that use it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

BATCH_NORM = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}


class Net(nn.Module):
    """``architecture`` with random weights, or with the pipeline's own ``state``."""

    def __init__(self, architecture, state=None) -> None:
        super().__init__()
        self.architecture = architecture
        self.convs, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for conv in architecture.convs:
            self.convs[_key(conv)] = nn.Conv2d(
                *(conv.inputs, conv.outputs, conv.kernel, conv.stride, conv.kernel // 2),
                bias=False,
            )
            self.norms[_key(conv)] = nn.BatchNorm2d(conv.outputs)
        self.classifier = nn.Linear(architecture.features, architecture.classes)
        if state:
            self._take(state)

    def forward(self, x):
        x = functional.relu(self._conv(self.architecture.stem, x))
        x = functional.max_pool2d(x, 3, 2, 1)
        for block in self.architecture.blocks:
            y = x
            for conv in block.convs[:-1]:
                y = functional.relu(self._conv(conv, y))
            y = self._conv(block.convs[-1], y)
            x = functional.relu(y + (self._conv(block.shortcut, x) if block.shortcut else x))
        return self.classifier(x.mean((2, 3)))

    def _conv(self, conv, x):
        return self.norms[_key(conv)](self.convs[_key(conv)](x))

    def _take(self, state) -> None:
        with torch.no_grad():
            for conv in self.architecture.convs:
                self.convs[_key(conv)].weight.copy_(torch.from_numpy(state[conv.weight]))
                for theirs, ours in BATCH_NORM.items():
                    value = torch.from_numpy(state[f"{conv.norm}.{ours}"])
                    getattr(self.norms[_key(conv)], theirs).copy_(value)
            self.classifier.weight.copy_(torch.from_numpy(state["classifier.weight"].T.copy()))
            self.classifier.bias.copy_(torch.from_numpy(state["classifier.bias"]))


def _key(conv) -> str:
    return conv.name.replace(".", "_")
