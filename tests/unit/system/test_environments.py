"""Which environment is for which GPU, and what is installed under which name."""

from importlib import metadata

from twofour.system import environments, packages

import pytest


@pytest.mark.parametrize(
    ("name", "capability", "words"),
    [
        ("NVIDIA P100", (6, 0), "older than what any of our environments is built for"),
        ("Tesla V100", (7, 0), "make run ENV=gpu trains and deploys on the Tesla V100"),
        ("NVIDIA L4", (8, 9), "make run ENV=gpu trains and deploys on the NVIDIA L4 (compute "),
        ("NVIDIA H100", (9, 0), "make run ENV=deploy-gpu deploys on the NVIDIA H100"),
        ("NVIDIA B200", (10, 0), "ENV=train-gpu trains on it, too, with PaddlePaddle 3"),
        ("NVIDIA GeForce RTX 5090", (12, 0), "make run ENV=deploy-gpu"),
    ],
)
def test_every_gpu_has_its_environment(name, capability, words):
    found = environments.advice(name, capability)
    assert words in found and name in found and "\n" not in found


def test_packages_are_found_under_the_name_for_their_cuda(monkeypatch):
    installed = {"onnxruntime-gpu": "1.26.0", "nvidia-dali-cuda130": "2.4.0", "numpy": "2.4.6"}

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    wanted = ["numpy", "onnxruntime", "nvidia-dali-cuda110", "tensorrt"]
    assert packages.versions(wanted) == {
        "numpy": {"numpy": "2.4.6"},
        "onnxruntime": {"onnxruntime-gpu": "1.26.0"},
        "nvidia-dali-cuda110": {"nvidia-dali-cuda130": "2.4.0"},
    }
