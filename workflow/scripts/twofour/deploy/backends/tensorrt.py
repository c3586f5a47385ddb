"""NVIDIA TensorRT from the ONNX file, with dense kernels.

For TensorRT 8.5, 10 and 11. :mod:`.tensorrt_sparse` is the same with sparse kernels allowed.
Engines hold kernels chosen by timing them on the GPU itself, so they are rebuilt for another GPU or
another version of TensorRT.

From TensorRT 10 on, networks are strongly typed: fp16 and bf16 are the types of the tensors in the
file that is parsed (:mod:`.typed`), which is kept beside the engines. In 8.5, flags allow the
builder to use fp16. int8 is explicit quantisation in all of them: the Q/DQ file says what is
rounded, and the rest computes in fp16.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...artifacts import ONNX, QUANTIZED
from ...quantization import forms, onnx_graph
from ...system.cli import log
from ...system.errors import TwoFourError
from ...system.files import atomic
from ...system.hardware import Machine, gpus
from .. import cuda, profiles, sparsity_log
from ..profiles import Profile
from . import typed
from .interface import INT8, About, Predictor
from .typed import BF16, FP16

TIMING_CACHE, ENGINE = "timing.cache", ".engine"
ABOUT = About(
    precisions={"gpu": ("fp32", "tf32", FP16, BF16, INT8)},
    summary="GPU, dense kernels",
    reads=(ONNX,),
    reads_int8=(QUANTIZED,),
    packages=("tensorrt", "cuda-python"),
    for_batches=True,
    note="dense kernels: sparse ones are not allowed in these engines",
    timings=TIMING_CACHE,
)
TESTED_VERSIONS = (8, 10, 11)  # major numbers that this is written for
_TIMED = 10  # batches, for the times of layers


def require(precision: str) -> None:
    """Raise TwoFourError in one sentence if this machine lacks something that is needed."""
    library()
    cuda.require()


def identity(machine: Machine) -> dict:
    """What an engine depends on; one of another identity cannot be used here."""
    return {"tensorrt": library().__version__, **cuda.device()}


def build(
    model: Path,
    out: Path,
    precision: str,
    machine: Machine,
    batches: Iterable[Profile],
    sparse: bool = False,
) -> dict:
    """Build an engine for each of ``batches`` from the ONNX file in the folder ``model``.

    Kernel timings are kept in ``out`` and save the next build most of its time.
    """
    trt = library()
    cuda.start()
    told = _Log(trt)
    builder = _made(trt.Builder, told)
    for old in out.glob(f"*{ENGINE}"):  # of another model or for other batches
        old.unlink()
    cuda.require_fast(precision, machine)
    engines, facts = [], {}
    onnx, quantised = _network(trt, model, out, precision)
    source = onnx, onnx.read_bytes()
    for profile in batches:
        told.lines.clear()
        plan, layers = _build_one(trt, told, builder, source, out, precision, profile, sparse)
        path = out / f"{profile.name}{ENGINE}"
        with atomic(path) as temporary:
            temporary.write_bytes(plan)
        engines.append(path)
        facts[profile.name] = {
            "layers": len(layers),
            "sparse_tactics": sum("sparse" in str(_tactic(layer)).lower() for layer in layers),
            **_integers(quantised, layers, profile),
            **sparsity_log.parse(told.lines),
        }
    (gpu, *_) = gpus() or [{}]
    return {
        "version": trt.__version__,
        "driver": gpu.get("driver_version"),
        # A deployment needs only one of them.
        "files": [str(engines[-1])],
        "engines": facts,
    }


def load(model: Path, out: Path, precision: str, machine: Machine) -> Predictor:
    """A predictor that takes the engine for each batch from the folder ``out``."""
    require(precision)
    cuda.start()
    return Engines(out)


class Engines:
    """Predictor over the engines in a folder; each is loaded when a batch first needs it.

    ``device_seconds`` is how long the GPU computed for the last batch, copies not included.
    """

    device_seconds: float = 0.0

    def __init__(self, folder: Path) -> None:
        self._paths = {
            profiles.named(path.stem): path for path in sorted(folder.glob(f"bs*{ENGINE}"))
        }
        if not self._paths:
            raise TwoFourError(f"there is no engine in {folder}; build it again")
        self._loaded: dict[Profile, _Engine] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        profile = profiles.choose(self._paths, len(images))
        engine = self._engine(profile)
        result = engine(images)
        self.device_seconds = engine.device_seconds
        return result

    def layer_ms(self, images: np.ndarray) -> dict[str, float]:
        """Milliseconds of each of the engine's layers for these images: medians of 10 batches.

        TensorRT joins the names of what it fused: "layer1.0.conv1 + Relu.1".
        """
        return self._engine(profiles.choose(self._paths, len(images))).layer_ms(images)

    def _engine(self, profile: Profile) -> _Engine:
        if profile not in self._loaded:
            self._loaded[profile] = _Engine(self._paths[profile], profile)
        return self._loaded[profile]


class _Engine:
    """One engine with its buffers: pinned memory here, memory on the GPU, a stream, two events."""

    device_seconds: float = 0.0

    def __init__(self, path: Path, profile: Profile) -> None:
        trt = library()
        self._log = _Log(trt)
        self._runtime = _made(trt.Runtime, self._log)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise TwoFourError(f"TensorRT cannot load {path}: {self._log.complaint()}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise TwoFourError(f"TensorRT cannot run {path}: {self._log.complaint()}")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        (self._input,) = [n for n in names if modes[n] == trt.TensorIOMode.INPUT]
        (self._output,) = [n for n in names if modes[n] == trt.TensorIOMode.OUTPUT]
        shapes = {n: tuple(self._engine.get_tensor_shape(n))[1:] for n in names}
        self._stream = cuda.stream()
        self._begin, self._end = cuda.event(), cuda.event()
        self._host, self._device = {}, {}
        for name in names:
            self._host[name] = cuda.pinned((profile.largest, *shapes[name]), np.float32)
            self._device[name] = cuda.allocate(self._host[name].nbytes)
            self._context.set_tensor_address(name, int(self._device[name]))
        self._shape: tuple[int, ...] | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if images.shape != self._shape:
            if not self._context.set_input_shape(self._input, images.shape):
                raise TwoFourError(f"TensorRT refuses {images.shape}: {self._log.complaint()}")
            self._shape = images.shape
        source, result = self._host[self._input][:count], self._host[self._output][:count]
        np.copyto(source, images)
        cuda.to_device(self._device[self._input], source, self._stream)
        cuda.record(self._begin, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise TwoFourError(f"TensorRT could not run a batch: {self._log.complaint()}")
        cuda.record(self._end, self._stream)
        cuda.to_host(result, self._device[self._output], self._stream)
        cuda.synchronize(self._stream)
        self.device_seconds = cuda.seconds(self._begin, self._end)
        return result.copy()

    def layer_ms(self, images: np.ndarray) -> dict[str, float]:
        # Timed in a context of its own: one with a profiler is slower ever after.
        usual, self._context = self._context, self._engine.create_execution_context()
        if self._context is None:
            raise TwoFourError(f"TensorRT cannot time layers: {self._log.complaint()}")
        times: dict[str, list[float]] = {}
        try:
            for name, buffer in self._device.items():
                self._context.set_tensor_address(name, int(buffer))
            self._shape = None
            self(images)  # warm-up
            self._context.profiler = _profiler(library(), times)
            for _ in range(_TIMED):
                self(images)
        finally:
            self._context, self._shape = usual, None
        return {name: float(np.median(taken)) for name, taken in times.items()}


def _profiler(trt, times: dict[str, list[float]]):
    """What TensorRT tells how long each layer took; it adds to ``times`` {layer: milliseconds}."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name, ms) -> None:
            times.setdefault(layer_name, []).append(ms)

    return Profiler()


class _Log:
    """Collects TensorRT's messages: what it says about sparsity, and what went wrong."""

    def __init__(self, trt) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []
        failures = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)
        outer = self

        class Logger(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity, message) -> None:
                if sparsity_log.MARK in message:
                    outer.lines.append(message)
                if severity in failures:
                    outer.errors.append(message)

        self.logger = Logger()

    def complaint(self) -> str:
        return self.errors[-1].strip() if self.errors else "it gives no reason"


def library() -> Any:
    """The module tensorrt; TwoFourError where it is missing or cannot start."""
    try:
        import tensorrt
    except ImportError as error:
        raise TwoFourError(
            f"the backend tensorrt needs NVIDIA TensorRT 8.5 to 11, whose Python package does not "
            f"load here ({error}); install it or take tensorrt and tensorrt_sparse out of "
            "deploy.backends"
        ) from error
    return tensorrt


def _made(kind, log: _Log):
    """A Builder or Runtime; TensorRT raises an obscure TypeError if it cannot start."""
    try:
        return kind(log.logger)
    except TypeError as error:
        raise TwoFourError(f"TensorRT cannot start on this machine: {log.complaint()}") from error


def _strongly_typed(trt) -> bool:
    """Whether networks of this version compute in the types of their tensors."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _network(trt, model: Path, out: Path, precision: str) -> tuple[Path, list[str]]:
    """The ONNX file that is parsed, and its quantised convolutions.

    It is written to ``out`` where it is not an exported one.
    """
    exported = model / (QUANTIZED if precision == INT8 else ONNX)
    if precision in ("fp32", "tf32"):
        return exported, []
    if not _strongly_typed(trt) and precision != INT8:
        if not hasattr(trt.BuilderFlag, precision.upper()):
            raise TwoFourError(
                f"deploy.precisions: TensorRT {trt.__version__} has no {precision}; take "
                f"{precision} out, or install TensorRT 10 or later (make run ENV=deploy-gpu)"
            )
        return exported, []
    graph = onnx_graph.load(exported)
    names = [node.name for node in forms.quantised_convolutions(graph)]
    if _strongly_typed(trt):
        return typed.write(graph, exported, out, precision), names
    onnx_graph.write(out / exported.name, forms.with_float_weights(graph))
    return out / exported.name, names


def _integers(quantised: list[str], layers: list, profile: Profile) -> dict:
    """Which of the ``quantised`` convolutions read 8-bit integers in an engine, by its inspector.

    TensorRT joins the names of the operators that it fused ("layer1.0.conv1 + Relu.1").
    """
    if not quantised:
        return {}
    found: set[str] = set()
    for layer in layers:
        inputs = layer.get("Inputs", []) if isinstance(layer, dict) else []
        if inputs and "int8" in _data_type(inputs[0]).lower():
            found.update(str(layer.get("Name", "")).split(" + "))
    floating = [name for name in quantised if name not in found]
    if floating:
        log.warning(
            "warning: the engine %s computes %d of %d quantised convolutions in floating point, "
            "the first being %s",
            profile.name,
            len(floating),
            len(quantised),
            floating[0],
        )
    return {"int8_layers": len(quantised) - len(floating), "float_layers": floating}


def _build_one(trt, log, builder, source, out: Path, precision, profile, sparse):
    """(bytes of the engine, its layers as TensorRT's inspector describes them)."""
    kinds = trt.NetworkDefinitionCreationFlag
    kind = kinds.STRONGLY_TYPED if _strongly_typed(trt) else kinds.EXPLICIT_BATCH
    network = builder.create_network(1 << int(kind))
    parser = trt.OnnxParser(network, log.logger)
    onnx, content = source
    if not parser.parse(content):
        reasons = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise TwoFourError(f"TensorRT cannot read {onnx}: {'; '.join(reasons)}")
    config = builder.create_builder_config()
    configure(trt, config, precision, sparse)
    images = network.get_input(0)
    shape = tuple(images.shape)[1:]
    range_ = builder.create_optimization_profile()
    range_.set_shape(
        images.name,
        (profile.smallest, *shape),
        (profile.largest, *shape),
        (profile.largest, *shape),
    )
    config.add_optimization_profile(range_)
    path = out / TIMING_CACHE
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):  # of another GPU or version
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise TwoFourError(f"TensorRT cannot build {onnx}: {log.complaint()}")
    timings = config.get_timing_cache()
    if timings is not None:
        with atomic(path) as temporary:
            temporary.write_bytes(bytes(timings.serialize()))
    plan = bytes(plan)
    engine = _made(trt.Runtime, log).deserialize_cuda_engine(plan)
    if engine is None:
        raise TwoFourError(f"TensorRT cannot load what it built: {log.complaint()}")
    described = engine.create_engine_inspector().get_engine_information(
        trt.LayerInformationFormat.JSON
    )
    return plan, json.loads(described).get("Layers", [])


def configure(trt, config, precision: str, sparse: bool) -> None:
    """Set the builder's flags: the precision, sparse kernels, and how much the engine reports."""
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default in TensorRT
    else:
        config.set_flag(trt.BuilderFlag.TF32)
    if not _strongly_typed(trt):
        if precision in (FP16, INT8):
            config.set_flag(trt.BuilderFlag.FP16)
        if precision == INT8:
            config.set_flag(trt.BuilderFlag.INT8)
    if sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def _data_type(tensor: dict) -> str:
    """What the inspector says of a tensor's type: "Format/Datatype": "… Int8 …", or apart in 11."""
    keys = ("Format/Datatype", "Format/DataType", "Format", "DataType", "Datatype")
    return " ".join(str(tensor[key]) for key in keys if key in tensor)


def _tactic(layer) -> str:
    return layer.get("TacticName") or "" if isinstance(layer, dict) else ""
