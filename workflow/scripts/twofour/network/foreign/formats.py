"""Weight files as {name: array}, whichever library wrote them. Nothing in a file is executed.

The format is recognised by the content: PyTorch's zip archives and its older files, safetensors,
and PaddlePaddle's pickles.

Sources: PyTorch, torch/serialization.py (version 2.13); safetensors, README, section "Format".
"""

from __future__ import annotations

import io
import json
import math
import mmap
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...system.errors import TwoFourError, telling
from ...system.files import PathLike

_NUMPY = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocol 2 writes bytes
    ("collections", "OrderedDict"),
}
_TORCH_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_SAFE_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bf16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # PyTorch before 1.6
_LARGEST_PICKLE = 1 << 26  # bytes; names and shapes, not the numbers
_LARGEST_HEADER = 100_000_000  # bytes, of safetensors, which sets the same limit


class _Damaged(Exception):  # noqa: N818 (its message becomes that of an error)
    """A file does not hold what its format promises."""


@dataclass(frozen=True)
class File:
    """What a weight file holds: its ``format`` in words, and ``arrays`` by name.

    Numbers of 16 bits come as float32.
    """

    format: str
    arrays: dict[str, np.ndarray]


def read(path: PathLike) -> File:
    """Read a weight file; TwoFourError if it is missing, damaged, or of no known format."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(16)
            readers: dict[str, Callable[[], dict[str, np.ndarray]]] = {
                "PyTorch": lambda: _torch_zip(path),
                "safetensors": lambda: _safetensors(path),
                "PaddlePaddle": lambda: _pickled(path),
            }
    except OSError as error:
        raise TwoFourError(f"cannot read weights {path}: {error.strerror or error}") from error
    try:
        if head.startswith(b"PK\x03\x04"):
            kind = "PyTorch"
        elif len(head) > 8 and head[8:9] == b"{":
            kind = "safetensors"
        elif head.startswith(b"\x80") and _is_legacy_torch(path):
            kind, readers["PyTorch"] = "PyTorch", lambda: _torch_legacy(path)
        elif head.startswith(b"\x80"):
            kind = "PaddlePaddle"
        else:
            raise _Damaged(
                "it is neither a file of PyTorch (.pth, .pt) or PaddlePaddle (.pdparams) nor "
                "safetensors"
            )
        arrays = readers[kind]()
    except TwoFourError:
        raise
    except zipfile.BadZipFile as error:
        raise TwoFourError(
            f"{path} is not a usable weights file: it is cut short or damaged"
        ) from error
    except Exception as error:  # a damaged file raises almost anything
        raise TwoFourError(f"{path} is not a usable weights file: {telling(error)}") from error
    return File(kind, arrays)


# --- pickles ---


class _Unpickler(pickle.Unpickler):
    """Creates nothing but containers, arrays and, by ``tensors``, PyTorch's tensors."""

    def __init__(self, file, tensors: _Storages | None = None, **options) -> None:
        super().__init__(file, **options)
        self._tensors = tensors

    def find_class(self, module: str, name: str):
        if (module, name) in _NUMPY:
            return super().find_class(module, name)
        if self._tensors is not None:
            if module in ("torch", "torch.storage") and name in _TORCH_TYPES:
                return _TORCH_TYPES[name]
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return self._tensors.tensor
            if (module, name) == ("torch._utils", "_rebuild_parameter"):
                return lambda data, *rest: data
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")

    def persistent_load(self, identity):
        if self._tensors is None:
            raise pickle.UnpicklingError("it refers to objects outside of the file")
        return self._tensors.storage(identity)


def _pickled(path: PathLike) -> dict[str, np.ndarray]:
    """The arrays of a PaddlePaddle file."""
    with Path(path).open("rb") as file:
        value = _Unpickler(file).load()
    if not isinstance(value, Mapping):
        raise _Damaged(f"it holds a {type(value).__name__}")
    return dict(nested(value))


def nested(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) of all arrays in ``value``, whose mappings and lists may be nested.

    PaddlePaddle writes a single tensor as (its own name, array), and adds entries that are not
    arrays, such as a table of names.
    """
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from nested(child, f"{name}.{key}" if name else str(key))
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        yield from nested(value[1], name)
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from nested(child, f"{name}.{index}" if name else str(index))


# --- PyTorch ---


@dataclass
class _Storage:
    """A one-dimensional piece of memory that tensors are views of: ``numel`` numbers."""

    kind: str
    key: str
    numel: int


class _Storages:
    """Makes tensors of the storages that ``read`` (key, bytes) gives."""

    def __init__(self, read: Callable[[str, int], bytes]) -> None:
        self._read = read
        self._known: dict[str, np.ndarray] = {}

    def storage(self, identity: Any) -> _Storage:
        """A storage by the persistent id that stands for it."""
        if not (isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage"):
            raise pickle.UnpicklingError("it refers to objects outside of the file")
        _, kind, key, _, numel = identity[:5]
        if kind not in _TORCH_TYPES.values() or not isinstance(numel, int) or numel < 0:
            raise pickle.UnpicklingError("it holds a storage of an unknown type")
        return _Storage(kind, str(key), numel)

    def tensor(self, storage: _Storage, offset, size, stride, *rest) -> _Tensor:
        """What torch._utils._rebuild_tensor_v2 is called with, to be filled later."""
        return _Tensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))

    def array(self, tensor: _Tensor) -> np.ndarray:
        """The numbers of a tensor."""
        storage = tensor.storage
        whole = self._known.get(storage.key)
        if whole is None:
            content = self._read(storage.key, storage.numel * _itemsize(storage.kind))
            whole = self._known[storage.key] = _numbers(content, storage.kind)
        if math.prod(tensor.size) == 0:
            return np.empty(tensor.size, whole.dtype)
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.size, tensor.stride))
        if (
            min(tensor.offset, *tensor.size, *tensor.stride, 0) < 0
            or last >= len(whole)
            or math.prod(tensor.size) > len(whole)
            or len(tensor.size) != len(tensor.stride)
        ):
            raise _Damaged("a tensor reaches beyond its storage")
        strides = [step * whole.itemsize for step in tensor.stride]
        view = np.lib.stride_tricks.as_strided(whole[tensor.offset :], tensor.size, strides)
        return np.ascontiguousarray(view).reshape(tensor.size)


@dataclass
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _tensors(value: Any, storages: _Storages) -> dict[str, np.ndarray]:
    """The arrays of a state_dict, or of a checkpoint that holds one."""

    def filled(node: Any) -> Any:
        if isinstance(node, _Tensor):
            return storages.array(node)
        if isinstance(node, Mapping):
            return {key: filled(child) for key, child in node.items()}
        return [filled(child) for child in node] if isinstance(node, (list, tuple)) else node

    if not isinstance(value, Mapping):
        raise _Damaged(f"it holds a {type(value).__name__} instead of a state_dict")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value.get(key), Mapping):
            value = value[key]
            break
    return dict(nested(filled(value)))


def _torch_zip(path: PathLike) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        index = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
        if index is None:
            raise _Damaged("the archive has no data.pkl, so PyTorch did not write it")
        folder = index[: -len("data.pkl")]
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order).strip() != b"little":
            raise _Damaged("its numbers are big-endian")

        def read(key: str, size: int) -> bytes:
            entry = archive.getinfo(f"{folder}data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < size:
                raise _Damaged(f"the archive's entry data/{key} is cut short or compressed")
            return archive.read(entry)[:size]

        if archive.getinfo(index).file_size > _LARGEST_PICKLE:
            raise _Damaged("its data.pkl is too large")
        storages = _Storages(read)
        return _tensors(_Unpickler(io.BytesIO(archive.read(index)), storages).load(), storages)


def _is_legacy_torch(path: PathLike) -> bool:
    with Path(path).open("rb") as file:
        try:
            return _Unpickler(file).load() == _LEGACY_MAGIC
        except Exception:
            return False


def _torch_legacy(path: PathLike) -> dict[str, np.ndarray]:
    """PyTorch before 1.6: three pickles, that of the object, the keys, then all storages."""
    content: dict[str, bytes] = {}
    with Path(path).open("rb") as file:
        for _ in range(3):  # a magic number, the version of the protocol, facts about the machine
            _Unpickler(file).load()
        kinds: dict[str, _Storage] = {}
        storages = _Storages(lambda key, size: content[key][:size])

        def remember(identity: Any) -> _Storage:
            if isinstance(identity, tuple) and len(identity) > 5 and identity[5] is not None:
                raise pickle.UnpicklingError("it holds views of storages, which PyTorch gave up")
            found = _Storages.storage(storages, identity)
            kinds[found.key] = found
            return found

        storages.storage = remember  # type: ignore[method-assign]
        value = _Unpickler(file, storages).load()
        keys = _Unpickler(file).load()
        for key in keys:
            storage = kinds[str(key)]
            (count,) = struct.unpack("<q", file.read(8))
            if count != storage.numel:
                raise _Damaged("a storage is not of the size that the file says")
            content[str(key)] = file.read(count * _itemsize(storage.kind))
    return _tensors(value, storages)


# --- safetensors ---


def _safetensors(path: PathLike) -> dict[str, np.ndarray]:
    with (
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        (length,) = struct.unpack("<Q", content[:8])
        if length > min(_LARGEST_HEADER, len(content) - 8):
            raise _Damaged("its header is cut short")
        header = json.loads(content[8 : 8 + length])
        arrays = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            kind = _SAFE_TYPES.get(entry["dtype"])
            if kind is None:
                raise _Damaged(f"{name} is of the type {entry['dtype']}")
            begin, end = (int(value) for value in entry["data_offsets"])
            shape = [int(value) for value in entry["shape"]]
            size, base = math.prod(shape) * _itemsize(kind), 8 + length
            if min(begin, *shape, 0) < 0 or end - begin != size or base + end > len(content):
                raise _Damaged(f"{name} is cut short, or not of the size that the file says")
            arrays[name] = _numbers(content[base + begin : base + end], kind).reshape(shape)
        return arrays


# --- numbers ---


def _itemsize(kind: str) -> int:
    return 2 if kind == "bf16" else np.dtype(kind).itemsize


def _numbers(content: bytes, kind: str) -> np.ndarray:
    """The numbers in ``content``, those of 16 bits as float32."""
    if len(content) % _itemsize(kind):
        raise _Damaged("it is cut short")
    if kind == "bf16":  # the upper half of a float32
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    found = np.frombuffer(content, kind)
    return found.astype(np.float32) if kind == "<f2" else found
