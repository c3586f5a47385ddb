"""Which of the environments in envs/ is for which GPU."""

from __future__ import annotations

# What the packaged PaddlePaddle 2.6.2 has code for begins and ends here (docs/gpu-results.md).
_TRAINS = (6, 1), (8, 9)


def name(capability: tuple[int, int]) -> str:
    """The first environment to try for a GPU of this compute ``capability``; "" if none is."""
    if capability < _TRAINS[0]:
        return ""
    return "gpu" if capability <= _TRAINS[1] else "deploy-gpu"


def training(capability: tuple[int, int] | None) -> str:
    """The environment in which networks are trained on such a GPU, or on a usual one."""
    return "train-gpu" if capability and name(capability) == "deploy-gpu" else "gpu"


def advice(gpu: str, capability: tuple[int, int]) -> str:
    """What the GPU called ``gpu`` of this compute ``capability`` can be used for: one sentence."""
    listed = f"{gpu} (compute capability {'.'.join(map(str, capability))})"
    if not name(capability):
        return f"the {listed} is older than what any of our environments is built for"
    if name(capability) == "gpu":
        return f"make run ENV=gpu trains and deploys on the {listed}"
    return (
        f"make run ENV=deploy-gpu deploys on the {listed} and trains on the CPU; ENV=train-gpu "
        "trains on it, too, with PaddlePaddle 3"
    )
