"""The sections ``deploy``, ``evaluation`` and ``benchmark`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..system.sections import Section, key
from .backends import AUTO, NAMES, PRECISIONS, precision_summary, summary


@dataclass(frozen=True, repr=False)
class Deploy(Section):
    """What is built of the trained models."""

    backends: list[str] = key(
        ["paddle", "onnxruntime", "openvino"],
        f"inference backends to build, evaluate and benchmark: {summary()}",
        minItems=1,
        uniqueItems=True,
        items={"enum": list(NAMES)},
    )
    precisions: list[str] | str = key(
        ["fp32"],
        "arithmetic of the deployed models; each backend is built in those that it has "
        f"({precision_summary()}); auto means fp32 (or the first that a backend has), and int8 "
        "where the processor of the machine that starts the workflow computes in it",
        schema={
            "oneOf": [
                {"const": AUTO},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"enum": list(PRECISIONS)},
                    "uniqueItems": True,
                },
            ]
        },
    )


def _tolerance(default: float, meaning: str):
    return key(default, meaning, exclusiveMinimum=0, maximum=1)


@dataclass(frozen=True, repr=False)
class Tolerance(Section):
    """How far a deployed model may be from the training graph, for each precision."""

    fp32: float = _tolerance(
        0.001,
        "largest allowed difference of any class probability between a model deployed in fp32 and "
        "the training graph",
    )
    tf32: float = _tolerance(
        0.01, "the same for a model deployed in tf32, which has 10 bits of mantissa instead of 23"
    )
    fp16: float = _tolerance(
        0.02,
        "the same for a model deployed in fp16, which has 10 bits of mantissa and a smaller range",
    )
    bf16: float = _tolerance(
        0.1, "the same for a model deployed in bf16, which has 7 bits of mantissa"
    )
    int8: float = _tolerance(
        0.1,
        "the same for a model deployed in int8, but the difference is from the same quantised "
        "network computed in floating point, and 1 % of the images may differ more: engines round "
        "at other places",
    )


@dataclass(frozen=True, repr=False)
class Evaluation(Section):
    """How accuracy is measured."""

    batch_size: int = key(
        64,
        "images in a batch when accuracy is measured (the result does not depend on it)",
        minimum=1,
        maximum=65536,
    )
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True, repr=False)
class Benchmark(Section):
    """How speed is measured."""

    batch_sizes: list[int] = key(
        [1, 8, 32, 128, 256],
        "batch sizes at which throughput and latency are measured",
        minItems=1,
        uniqueItems=True,
        items={"minimum": 1, "maximum": 65536},
    )
    warmup: int = key(10, "batches run before the clock starts", minimum=1, maximum=100000)
    steps: int = key(
        100,
        "batches measured, in 10 rounds; their medians are reported",
        minimum=5,
        maximum=1000000,
    )
