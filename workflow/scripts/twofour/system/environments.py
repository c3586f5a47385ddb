"""Which of the environments in envs/ is for which GPU."""

from __future__ import annotations

# What the packaged PaddlePaddle 2.6.2 has code for begins and ends here (docs/gpu-results.md).
_TRAINS = (6, 1), (8, 9)


def trains(capability: tuple[int, int]) -> bool:
    """Whether networks can be trained on a GPU of this compute ``capability``."""
    return _TRAINS[0] <= capability <= _TRAINS[1]


def advice(name: str, capability: tuple[int, int]) -> str:
    """What the GPU ``name`` of this compute ``capability`` can be used for, and how: one clause."""
    listed = f"{name} (compute capability {'.'.join(map(str, capability))})"
    if capability < _TRAINS[0]:
        return f"the {listed} is older than what any of our environments is built for"
    if trains(capability):
        return f"make run ENV=gpu trains and deploys on the {listed}"
    return (
        f"make run ENV=deploy-gpu builds, evaluates and benchmarks on the {listed}, with networks "
        "trained on the CPU or given as dense.weights, and ENV=train-gpu trains there, too, with "
        "PaddlePaddle 3"
    )
