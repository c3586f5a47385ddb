"""Stand-ins for TensorRT and the CUDA driver on a machine that has neither.

They have only names that TensorRT's own bindings have (tests/bindings), called as these are, and
what cuda-python 11 to 13 have in common. They keep the contract that our code relies on: "device"
memory is separate memory, reached only by copies; an
engine accepts only the batches of its profile; the ONNX file itself is run, by ONNX Runtime. So
they show that our side makes its calls in the right order and moves the right bytes, but nothing
about a GPU.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import json
import time
import types
from pathlib import Path

from twofour.sparse import pattern

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


class Bindings:
    """What the bindings of one release of TensorRT have, as tests/bindings/record.py found it."""

    def __init__(self, version: str) -> None:
        path = Path(__file__).parent / "bindings" / f"{version}.json"
        self.found = json.loads(path.read_text(encoding="utf-8"))

    def enum(self, name: str) -> type:
        """An enumeration with its members."""
        members = [n for n in self.found[name] if n.isupper() and not n.startswith("_")]
        return enum.IntEnum(name, {member: number for number, member in enumerate(members)})

    def stands_for(self, name: str):
        """Decorator: a class may have only the names of class ``name``, called alike."""
        real = self.found[name]

        def strict(kind: type) -> type:
            def set_attribute(instance, attribute, value) -> None:
                assert attribute.startswith("_") or attribute in real, f"{name}.{attribute}"
                object.__setattr__(instance, attribute, value)

            for attribute, value in list(vars(kind).items()):
                if attribute == "__init__" or not attribute.startswith("_"):
                    assert attribute in real, f"{name} has no {attribute}"
                if callable(value) and real.get(attribute):
                    setattr(kind, attribute, _called_as(value, real[attribute], attribute))
            kind.__setattr__ = set_attribute
            return kind

        return strict


def _called_as(function, signatures: list[list[str]], name: str):
    """``function``, for calls that one of the recorded ``signatures`` allows."""

    @functools.wraps(function)
    def checked(self, *given, **named):
        assert any(_fits(s, len(given), set(named)) for s in signatures), f"{name}: {signatures}"
        return function(self, *given, **named)

    return checked


def _fits(signature: list[str], given: int, named: set[str]) -> bool:
    if any(parameter.startswith("*") for parameter in signature):
        return False  # the general line above the overloads
    rest = signature[given:]
    needed = {parameter for parameter in rest if not parameter.endswith("=")}
    return given <= len(signature) and needed <= named <= {p.removesuffix("=") for p in rest}


def tensorrt(version: str, driver: Driver, mixed: bool = True) -> types.SimpleNamespace:
    """The module tensorrt of a ``version`` for which tests/bindings has a file.

    It calls all layers eligible for sparse kernels, picks every second, and computes the last
    quantised one in floating point; if not ``mixed``, those are eligible whose weights are 2:4, and
    all quantised ones are integers.
    """
    trt = types.SimpleNamespace(__version__=version, builds=[])
    bindings = Bindings(version)
    stands_for = bindings.stands_for
    for name in ("BuilderFlag", "NetworkDefinitionCreationFlag", "TensorIOMode"):
        setattr(trt, name, bindings.enum(name))
    for name in ("ProfilingVerbosity", "LayerInformationFormat"):
        setattr(trt, name, bindings.enum(name))

    @stands_for("ILogger")
    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self) -> None:
            pass

    @stands_for("IProfiler")
    class IProfiler:
        def __init__(self) -> None:
            pass

    @stands_for("ITimingCache")
    class Timings:
        def __init__(self, content):
            self._content = content

        def serialize(self):
            return self._content

    @stands_for("IBuilderConfig")
    class Config:
        def __init__(self):
            self._flags, self._profile, self._cache = {trt.BuilderFlag.TF32}, None, None

        def set_flag(self, flag):
            self._flags.add(flag)

        def clear_flag(self, flag):
            self._flags.discard(flag)

        def add_optimization_profile(self, profile):
            self._profile = profile

        def create_timing_cache(self, serialized_timing_cache):
            return Timings(serialized_timing_cache + b"+")

        def set_timing_cache(self, cache, ignore_mismatch):
            if b"other" in cache.serialize():
                return False
            self._cache = cache
            return True

        def get_timing_cache(self):
            return self._cache

    @stands_for("IOptimizationProfile")
    class Profile:
        def set_shape(self, input, min, opt, max):
            self._low, self._high = min, max

    @stands_for("ITensor")
    class Tensor:
        def __init__(self, name, shape):
            self.name, self.shape = name, shape

    @stands_for("INetworkDefinition")
    class Network:
        def __init__(self, typed):
            self._typed, self._model = typed, None

        def get_input(self, index):
            source = self._model.graph.input[index]
            sizes = [d.dim_value or -1 for d in source.type.tensor_type.shape.dim]
            return Tensor(source.name, sizes)

    @stands_for("Builder")
    class Builder:
        def __init__(self, logger):
            self._logger = logger

        def create_network(self, flags=0):
            typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
            return Network(typed is not None and bool(flags & 1 << typed))

        def create_builder_config(self):
            return Config()

        def create_optimization_profile(self):
            return Profile()

        def build_serialized_network(self, network, config):
            flags = frozenset(flag.name for flag in config._flags)
            low, high = config._profile._low, config._profile._high
            trt.builds.append((low, high, flags))
            if network._typed and flags & {"FP16", "BF16", "INT8"}:
                self._logger.log(ILogger.ERROR, "precision flags in a strongly typed network")
                return None
            convs = [node for node in network._model.graph.node if node.op_type == "Conv"]
            sparse = (n for n in convs if mixed or _is_sparse(network._model.graph, n))
            names = [node.name for node in sparse]
            if "SPARSE_WEIGHTS" in flags:
                for line in _sparsity_lines(version, names):
                    self._logger.log(ILogger.INFO, line)
            head = {"low": low, "high": high}
            return json.dumps(head).encode() + b"\n" + network._model.SerializeToString()

    @stands_for("OnnxParser")
    class OnnxParser:
        def __init__(self, network, logger):
            self._network, self.num_errors, self._reason = network, 0, "no ONNX file"

        def parse(self, model, path=None):
            try:
                self._network._model = onnx.load_from_string(model)
            except Exception:
                self.num_errors = 1
                return False
            refused = _refused(version, self._network._model.graph)
            if refused:
                self.num_errors, self._reason = 1, refused
            return not refused

        def get_error(self, index):
            return self._reason

    @stands_for("Runtime")
    class Runtime:
        def __init__(self, logger):
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine):
            head, separator, body = serialized_engine.partition(b"\n")
            if not separator:
                self._logger.log(ILogger.ERROR, "the plan is damaged")
                return None
            return Engine(json.loads(head), body)

    @stands_for("EngineInspector")
    class Inspector:
        def __init__(self, graph):
            self._graph = graph

        def get_engine_information(self, format):
            layers = [{"Name": "a", "TacticName": "sm80_xmma_fprop_sparse_conv"}, "b"]
            integers = _int8_layers(version, self._graph, mixed)
            return json.dumps({"Layers": layers + integers})

    @stands_for("ICudaEngine")
    class Engine:
        num_io_tensors = 2

        def __init__(self, head, body):
            self._head = head
            options = onnxruntime.SessionOptions()  # as it is written, with its rounding
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.log_severity_level = 3
            body = _without_bf16(body)
            self._session = onnxruntime.InferenceSession(body, options)
            self._graph = onnx.load_from_string(body).graph
            self._ends = [self._session.get_inputs()[0], self._session.get_outputs()[0]]
            assert [end.type for end in self._ends] == 2 * ["tensor(float)"]

        def get_tensor_name(self, index):
            return self._ends[index].name

        def get_tensor_mode(self, name):
            modes = trt.TensorIOMode
            return modes.INPUT if name == self._ends[0].name else modes.OUTPUT

        def get_tensor_shape(self, name):
            end = next(e for e in self._ends if e.name == name)
            return [-1, *end.shape[1:]]

        def create_execution_context(self):
            return Context(self)

        def create_engine_inspector(self):
            return Inspector(self._graph)

    @stands_for("IExecutionContext")
    class Context:
        def __init__(self, engine):
            self._engine, self._addresses, self._shape = engine, {}, None
            self.profiler = None

        def set_tensor_address(self, name, memory):
            self._addresses[name] = memory
            return True

        def set_input_shape(self, name, shape):
            self._shape = shape
            head = self._engine._head
            return head["low"][0] <= shape[0] <= head["high"][0]

        def execute_async_v3(self, stream_handle):
            driver.calls.append("execute")
            engine = self._engine
            source, result = (self._addresses[e.name] for e in engine._ends)
            size = int(np.prod(self._shape))
            images = np.frombuffer((ctypes.c_float * size).from_address(source), np.float32)
            images = images.reshape(self._shape)
            answer = engine._session.run(None, {engine._ends[0].name: images})[0]
            ctypes.memmove(result, np.ascontiguousarray(answer).ctypes.data, answer.nbytes)
            convs = [node.name for node in engine._graph.node if node.op_type == "Conv"]
            for number, name in enumerate(convs if self.profiler else (), start=1):
                self.profiler.report_layer_time(f"{name} + Relu", number / 10)
            return True

    trt.ILogger, trt.IProfiler, trt.Builder = ILogger, IProfiler, Builder
    trt.OnnxParser, trt.Runtime = OnnxParser, Runtime
    return trt


def _without_bf16(content):
    """The network with fp16 for bf16, which ONNX Runtime's CPU kernels lack; its types must fit."""
    model = onnx.load_from_string(content)
    low, high = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16
    if all(tensor.data_type != low for tensor in model.graph.initializer):
        return content
    for tensor in model.graph.initializer:
        if tensor.data_type == low:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == low:
                attribute.i = high
    model.opset_import[0].version = 19
    return model.SerializeToString()


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


def _is_sparse(graph, conv) -> bool:
    """Whether the weights of a convolution, perhaps dequantised ones, are 2:4."""
    makers = {node.output[0]: node for node in graph.node}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    name = conv.input[1]
    while name not in stored:
        name = makers[name].input[0]
    return pattern.holds(numpy_helper.to_array(stored[name]).astype(np.float32))


def _int8_layers(version, graph, mixed):
    """As the inspector describes convolutions that read integers; if ``mixed``, the last does not.

    TensorRT 11 gives format and type apart (NVIDIA's migration guide, IEngineInspector).
    """
    dequantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    convs = [n for n in graph.node if n.op_type == "Conv" and n.input[0] in dequantised]
    apart = version.startswith("11")
    key = "DataType" if apart else "Format/Datatype"
    kind = "Int8" if apart else "Thirty-two wide channel vectorized row major Int8 format"
    more = {"Format": "Thirty-two wide channel vectorized row major format"} if apart else {}
    return [
        {"Name": f"{n.name} + Relu", "Inputs": [{"Name": "x", key: kind, **more}]}
        for n in convs[: -1 if mixed else None]
    ] + [{"Name": n.name, "Inputs": [{key: "FP16"}]} for n in (convs[-1:] if mixed else ())]


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
