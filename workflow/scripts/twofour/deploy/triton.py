"""Model repositories for NVIDIA's Triton Inference Server: folders with a config.pbtxt.

The fields are those of its model_config.proto (triton-inference-server/common), with which a test
parses what is written here. No Triton has served it yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..network.architecture import IMAGES, PROBABILITIES
from .with_images import CLASSES, PIXELS, TOP, TOP_K

LABELS = "labels.txt"
QUEUE_US = 1000  # how long a request may wait for others to share its batch
ONNX_FILE, ENGINE_FILE = "model.onnx", "model.plan"  # the names that Triton looks for


@dataclass(frozen=True)
class Served:
    """A model of a repository: its ``name``, Triton's ``backend``, and its tensors.

    ``inputs`` and ``outputs`` are (name, type, dimensions without the batch); ``largest`` the
    largest batch, ``preferred`` the sizes that it gathers requests to.
    """

    name: str
    backend: str
    largest: int
    preferred: Sequence[int]
    inputs: Sequence[tuple[str, str, Sequence[int]]]
    outputs: Sequence[tuple[str, str, Sequence[int]]]

    def config(self) -> str:
        """Its config.pbtxt, in protobuf's text format."""
        sizes = ", ".join(str(size) for size in self.preferred if size <= self.largest)
        lines = [
            f"name: {_text(self.name)}",
            f"backend: {_text(self.backend)}",
            f"max_batch_size: {self.largest}",
            *(_tensor("input", *tensor) for tensor in self.inputs),
            *(_tensor("output", *tensor) for tensor in self.outputs),
            "dynamic_batching {",
            *([f"  preferred_batch_size: [ {sizes} ]"] if sizes else []),
            f"  max_queue_delay_microseconds: {QUEUE_US}",
            "}",
        ]
        return "\n".join(lines) + "\n"


def network(
    name: str, about: Mapping[str, Any], backend: str, largest: int, preferred: Sequence[int]
) -> Served:
    """The network itself, from normalised images to probabilities, in ONNX Runtime or TensorRT."""
    inputs = [(IMAGES, "TYPE_FP32", about["input"]["shape"][1:])]
    outputs = [(PROBABILITIES, "TYPE_FP32", [len(about["classes"])])]
    return Served(name, backend, largest, preferred, inputs, outputs)


def with_images(
    name: str, about: Mapping[str, Any], largest: int, preferred: Sequence[int]
) -> Served:
    """The file that takes decoded images of any size (:mod:`.with_images`), in ONNX Runtime."""
    classes = len(about["classes"])
    top = min(TOP_K, classes)
    outputs = [
        (PROBABILITIES, "TYPE_FP32", [classes]),
        (TOP, "TYPE_FP32", [top]),
        (CLASSES, "TYPE_INT64", [top]),
    ]
    inputs = [(PIXELS, "TYPE_UINT8", [-1, -1, 3])]
    return Served(name, "onnxruntime", largest, preferred, inputs, outputs)


def _tensor(kind: str, name: str, type_: str, dims: Sequence[int]) -> str:
    labels = f" label_filename: {_text(LABELS)}" if name == PROBABILITIES else ""
    shape = ", ".join(map(str, dims))
    return f"{kind} [ {{ name: {_text(name)} data_type: {type_} dims: [ {shape} ]{labels} }} ]"


def _text(value: str) -> str:
    return json.dumps(value)  # whose escapes protobuf's text format has, too
