"""Stand-ins for TensorRT and the CUDA driver on a machine that has neither.

They have only what TensorRT 8.5 and 10 and cuda-python 11 to 13 have in common, and keep the
contract that our code relies on: "device" memory is separate memory, reached only by copies; an
engine accepts only the batches of its profile; the ONNX file itself is run, by ONNX Runtime. So
they show that our side makes its calls in the right order and moves the right bytes, but nothing
about a GPU.
"""

from __future__ import annotations

import ctypes
import json
import time
import types

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


class Driver:
    """cuda.bindings.driver: every function returns (status, value…)."""

    class CUstream_flags:  # noqa: N801 (its name there)
        CU_STREAM_NON_BLOCKING = 1

    class CUdevice_attribute:  # noqa: N801
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 0
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 1

    def __init__(self, gpu: dict) -> None:
        self.gpu = gpu
        self.memory: dict[int, ctypes.Array] = {}
        self.calls: list[str] = []

    def __getattr__(self, name):
        raise AssertionError(f"the driver has no {name} here")

    def _block(self, size):
        block = (ctypes.c_byte * size)()
        self.memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cuInit(self, flags):  # noqa: N802
        return (0,)

    def cuDeviceGetCount(self):  # noqa: N802
        return 0, 1

    def cuDeviceGet(self, number):  # noqa: N802
        return 0, number

    def cuDeviceGetName(self, length, device):  # noqa: N802
        return 0, self.gpu["name"].encode() + b"\0\0"

    def cuDeviceGetAttribute(self, attribute, device):  # noqa: N802
        return 0, int(self.gpu["compute_cap"].split(".")[attribute])

    def cuDevicePrimaryCtxRetain(self, device):  # noqa: N802
        return 0, "context"

    def cuCtxSetCurrent(self, context):  # noqa: N802
        return (0,)

    def cuMemAllocHost(self, size):  # noqa: N802
        return self._block(size)

    def cuMemAlloc(self, size):  # noqa: N802
        return self._block(size)

    def cuStreamCreate(self, flags):  # noqa: N802
        return 0, 77

    def cuEventCreate(self, flags):  # noqa: N802
        return 0, {}

    def cuMemcpyHtoDAsync(self, target, source, size, stream):  # noqa: N802
        assert target in self.memory and source in self.memory  # pinned → device
        self.calls.append("to device")
        ctypes.memmove(target, source, size)
        return (0,)

    def cuMemcpyDtoHAsync(self, target, source, size, stream):  # noqa: N802
        assert target in self.memory and source in self.memory
        self.calls.append("to host")
        ctypes.memmove(target, source, size)
        return (0,)

    def cuEventRecord(self, event, stream):  # noqa: N802
        self.calls.append("event")
        event["time"] = time.perf_counter()
        return (0,)

    def cuStreamSynchronize(self, stream):  # noqa: N802
        self.calls.append("wait")
        return (0,)

    def cuEventElapsedTime(self, begin, end):  # noqa: N802
        return 0, 1000 * (end["time"] - begin["time"])


def tensorrt(version: str, driver: Driver) -> types.SimpleNamespace:
    """The module tensorrt; its sparsity log has the form of ``version``'s major number."""
    trt = types.SimpleNamespace(__version__=version, builds=[])

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IProfiler:
        pass

    class BuilderFlag:
        FP16, TF32, SPARSE_WEIGHTS, INT8 = "fp16", "tf32", "sparse", "int8"

    class Config:
        def __init__(self):
            self.flags, self.profile, self.cache = {"tf32"}, None, None
            self.set_flag, self.clear_flag = self.flags.add, self.flags.discard

        def add_optimization_profile(self, profile):
            self.profile = profile

        def create_timing_cache(self, content):
            return types.SimpleNamespace(serialize=lambda: content + b"+")

        def set_timing_cache(self, cache, ignore_mismatch):
            if b"other" in cache.serialize():
                return False
            self.cache = cache
            return True

        def get_timing_cache(self):
            return self.cache

    class Profile:
        def set_shape(self, name, low, best, high):
            self.name, self.low, self.best, self.high = name, low, best, high

    class Builder:
        platform_has_tf32, platform_has_fast_fp16, platform_has_fast_int8 = True, True, True

        def __init__(self, logger):
            self.logger = logger

        def create_network(self, flags):
            return types.SimpleNamespace(model=None)

        def create_builder_config(self):
            return Config()

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            trt.builds.append((config.profile.low, config.profile.high, frozenset(config.flags)))
            names = [node.name for node in network.model.graph.node if node.op_type == "Conv"]
            if "sparse" in config.flags:
                for line in _sparsity_lines(version, names):
                    self.logger.log(ILogger.INFO, line)
            head = {"low": config.profile.low, "high": config.profile.high}
            return json.dumps(head).encode() + b"\n" + network.model.SerializeToString()

    class OnnxParser:
        def __init__(self, network, logger):
            self.network, self.num_errors = network, 0

        def parse(self, content):
            try:
                self.network.model = onnx.load_from_string(content)
            except Exception:
                self.num_errors = 1
                return False
            refused = _refused(version, self.network.model.graph)
            if refused:
                self.num_errors, self.reason = 1, refused
                return False
            source = self.network.model.graph.input[0]
            sizes = [d.dim_value or -1 for d in source.type.tensor_type.shape.dim]
            self.network.get_input = lambda _: types.SimpleNamespace(name=source.name, shape=sizes)
            return True

        def get_error(self, index):
            return getattr(self, "reason", "no ONNX file")

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, content):
            head, separator, body = content.partition(b"\n")
            if not separator:
                self.logger.log(ILogger.ERROR, "the plan is damaged")
                return None
            return Engine(json.loads(head), body)

    class Engine:
        num_io_tensors = 2

        def __init__(self, head, body):
            self.head = head
            options = onnxruntime.SessionOptions()  # as it is written, with its rounding
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            self.session = onnxruntime.InferenceSession(body, options)
            self.graph = onnx.load_from_string(body).graph
            self.ends = [self.session.get_inputs()[0], self.session.get_outputs()[0]]

        def get_tensor_name(self, index):
            return self.ends[index].name

        def get_tensor_mode(self, name):
            return "input" if name == self.ends[0].name else "output"

        def get_tensor_shape(self, name):
            end = next(e for e in self.ends if e.name == name)
            return [-1, *end.shape[1:]]

        def create_execution_context(self):
            return Context(self)

        def create_engine_inspector(self):
            layers = {"Layers": [{"Name": "a", "TacticName": "sm80_xmma_fprop_sparse_conv"}, "b"]}
            layers["Layers"] += _int8_layers(self.graph)
            return types.SimpleNamespace(get_engine_information=lambda kind: json.dumps(layers))

    class Context:
        def __init__(self, engine):
            self.engine, self.addresses, self.shape = engine, {}, None
            self.profiler = None

        def set_tensor_address(self, name, address):
            self.addresses[name] = address
            return True

        def set_input_shape(self, name, shape):
            self.shape = shape
            return self.engine.head["low"][0] <= shape[0] <= self.engine.head["high"][0]

        def execute_async_v3(self, stream):
            driver.calls.append("execute")
            source, result = (self.addresses[e.name] for e in self.engine.ends)
            size = int(np.prod(self.shape))
            images = np.frombuffer((ctypes.c_float * size).from_address(source), np.float32)
            images = images.reshape(self.shape)
            answer = self.engine.session.run(None, {self.engine.ends[0].name: images})[0]
            ctypes.memmove(result, np.ascontiguousarray(answer).ctypes.data, answer.nbytes)
            convs = [node.name for node in self.engine.graph.node if node.op_type == "Conv"]
            for number, name in enumerate(convs if self.profiler else (), start=1):
                self.profiler.report_layer_time(f"{name} + Relu", number / 10)
            return True

    trt.ILogger, trt.BuilderFlag, trt.Builder = ILogger, BuilderFlag, Builder
    trt.IProfiler = IProfiler
    trt.OnnxParser, trt.Runtime = OnnxParser, Runtime
    trt.TensorIOMode = types.SimpleNamespace(INPUT="input", OUTPUT="output")
    trt.ProfilingVerbosity = types.SimpleNamespace(DETAILED="detailed")
    trt.LayerInformationFormat = types.SimpleNamespace(JSON="json")
    trt.NetworkDefinitionCreationFlag = types.SimpleNamespace(
        **({"EXPLICIT_BATCH": 0} if version.startswith("8") else {})
    )
    return trt


def _refused(version, graph):
    """What TensorRT says of integers that its networks cannot have."""
    for node in graph.node:
        stored = {t.name: t for t in graph.initializer}
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = stored[node.input[2]]
            if zero.data_type != onnx.TensorProto.INT8 or numpy_helper.to_array(zero).any():
                return "zero points must be 0, of type INT8"
            weight = stored.get(node.input[0])
            if weight and weight.data_type == onnx.TensorProto.INT8 and version.startswith("8"):
                return f"{weight.name}: invalid weights type of Int8"
    return ""


def _int8_layers(graph):
    """As the inspector describes convolutions that read integers; all but the last of them do."""
    dequantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    convs = [n for n in graph.node if n.op_type == "Conv" and n.input[0] in dequantised]
    kind = "Thirty-two wide channel vectorized row major Int8 format"
    return [
        {"Name": f"{n.name} + Relu", "Inputs": [{"Name": "x", "Format/Datatype": kind}]}
        for n in convs[:-1]
    ] + [{"Name": n.name, "Inputs": [{"Format/Datatype": "FP16"}]} for n in convs[-1:]]


def _sparsity_lines(version: str, names: list[str]) -> list[str]:
    eligible, picked = ", ".join(names), ", ".join(names[::2])
    if version.startswith("8"):
        return [
            f"(Sparsity) Layers eligible for sparse math: {eligible}",
            f"(Sparsity) TRT inference plan picked sparse implementation for layers: {picked}",
        ]
    return [
        f"(Sparsity) Found {len(names)} layer(s) eligible to use sparse tactics: {eligible}",
        f"(Sparsity) Chose {len(names[::2])} layer(s) using sparse tactics: {picked}",
    ]
