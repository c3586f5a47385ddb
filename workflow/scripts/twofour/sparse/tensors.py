"""Tensors of ONNX files as numbers, whatever type they are stored in.

ONNX's own reader lacks the newer types and raises errors of many kinds on damaged files. Floats of
8 and 4 bits are given as float32: E. g. "FP8 Formats for Deep Learning", P. Micikevicius et al.,
arXiv 2209.05433, and the OCP Microscaling Formats specification, version 1.0, section 5.3.
"""

from __future__ import annotations

import functools

import numpy as np

from ..system.errors import TwoFourError

# Number of the type in ONNX's TensorProto: how NumPy calls it.
_NUMPY = {
    **{1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2"},
    **{11: "<f8", 12: "<u4", 13: "<u8", 14: "<c8", 15: "<c16"},
}
_BFLOAT16 = 16
# Floats of few bits: exponent bits, mantissa bits, exponent bias, and which codes are no numbers.
_FLOATS = {
    17: (4, 3, 7, "fn"),  # FLOAT8E4M3FN: NaN where all bits but the sign are 1
    18: (4, 3, 8, "fnuz"),  # FLOAT8E4M3FNUZ: NaN is what would be the negative zero
    19: (5, 2, 15, "ieee"),  # FLOAT8E5M2
    20: (5, 2, 16, "fnuz"),  # FLOAT8E5M2FNUZ
    23: (2, 1, 1, "finite"),  # FLOAT4E2M1
}
_POWERS_OF_TWO = 24  # FLOAT8E8M0, which only scales have
_PACKED = {21: (4, False), 22: (4, True), 25: (2, False), 26: (2, True)}  # bits, signed
_STRING = 8
FLOAT8 = 17  # the type that is meant where an operator says no more than "FP8"
INTEGERS = {  # smallest and largest number of each type
    **{2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767), 6: (-(2**31), 2**31 - 1)},
    **{21: (0, 15), 22: (-8, 7), 25: (0, 3), 26: (-2, 1)},
}


def decode(tensor) -> np.ndarray:
    """The values of an ONNX TensorProto, whose external data have been loaded.

    Raises TwoFourError if the type is not known or there are too few bytes.
    """
    shape = tuple(tensor.dims)
    count = int(np.prod(shape, dtype=np.int64))
    kind = tensor.data_type
    try:
        values = _stored(tensor, kind, count)
        if len(values) < count:
            raise ValueError("it is cut short")
        return values[:count].reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise TwoFourError(f"the tensor {tensor.name} cannot be read: {error}") from error


def decode_sparse(tensor) -> np.ndarray:
    """The values of an ONNX SparseTensorProto, zeros included."""
    shape = tuple(tensor.dims)
    values, indices = decode(tensor.values), decode(tensor.indices)
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    result = np.zeros(int(np.prod(shape, dtype=np.int64)), values.dtype)
    try:
        result[flat] = values
    except IndexError as error:
        raise TwoFourError(f"the tensor {tensor.values.name} cannot be read: {error}") from error
    return result.reshape(shape)


def round_to(values: np.ndarray, kind: int) -> np.ndarray:
    """``values`` as the nearest numbers that the ONNX type ``kind`` has."""
    if kind in INTEGERS:
        return np.clip(np.rint(values), *INTEGERS[kind])
    if kind in _FLOATS:
        table = _table(kind)
        known = np.unique(table[np.isfinite(table)])
        right = np.clip(np.searchsorted(known, values), 1, len(known) - 1)
        nearer = values - known[right - 1] < known[right] - values
        return np.where(nearer, known[right - 1], known[right]).astype(np.float32)
    return values


def bits(kind: int) -> int:
    """Bits of a value of the ONNX type ``kind``; 0 if it is not known."""
    if kind in _NUMPY:
        return 8 * np.dtype(_NUMPY[kind]).itemsize
    if kind in _FLOATS:
        return 1 + sum(_FLOATS[kind][:2])
    return {_BFLOAT16: 16, _POWERS_OF_TWO: 8}.get(kind, _PACKED.get(kind, (0, False))[0])


def _stored(tensor, kind: int, count: int) -> np.ndarray:
    if kind == _STRING:
        raise ValueError("it holds texts")
    if not bits(kind):
        raise ValueError(f"its type {kind} is not known")
    if kind in _NUMPY:
        return _plain(tensor, _NUMPY[kind])
    if kind == _BFLOAT16:
        return (_plain(tensor, "<u2").astype(np.uint32) << 16).view(np.float32)
    codes = _plain(tensor, "u1")
    if bits(kind) < 8:
        per_byte = 8 // bits(kind)
        shifts = np.arange(per_byte, dtype=np.uint8) * bits(kind)
        codes = ((codes[:, None] >> shifts) & (2 ** bits(kind) - 1)).ravel()
    if kind in _PACKED:
        size, signed = _PACKED[kind]
        numbers = codes.astype(np.int8)
        return np.where(numbers >= 2 ** (size - 1), numbers - 2**size, numbers) if signed else codes
    return _table(kind)[codes]


def _plain(tensor, dtype: str) -> np.ndarray:
    """The stored numbers as ``dtype``, from whichever field of the TensorProto holds them."""
    if tensor.HasField("raw_data"):
        whole = len(tensor.raw_data) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize
        return np.frombuffer(tensor.raw_data[:whole], dtype=dtype)
    if dtype in ("<f4", "<c8"):
        return np.asarray(tensor.float_data, np.float32).view(dtype)
    if dtype in ("<f8", "<c16"):
        return np.asarray(tensor.double_data, np.float64).view(dtype)
    if dtype == "<i8":
        return np.asarray(tensor.int64_data, np.int64)
    if dtype in ("<u4", "<u8"):
        return np.asarray(tensor.uint64_data, np.uint64).astype(dtype)
    stored = np.asarray(tensor.int32_data, np.int32)
    if dtype == "<f2":
        return stored.astype(np.uint16).view(np.float16)
    return stored.astype(dtype)


@functools.cache
def _table(kind: int) -> np.ndarray:
    """Code → value, for floats of 8 or fewer bits."""
    if kind == _POWERS_OF_TWO:
        powers = np.exp2(np.arange(256, dtype=np.float64) - 127)
        powers[255] = np.nan
        return powers.astype(np.float32)
    exponent_bits, mantissa_bits, bias, style = _FLOATS[kind]
    codes = np.arange(2 ** (1 + exponent_bits + mantissa_bits))
    mantissa = codes & (2**mantissa_bits - 1)
    exponent = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    sign = np.where(codes >> (mantissa_bits + exponent_bits), -1.0, 1.0)
    fraction = mantissa / 2**mantissa_bits
    normal = np.exp2(exponent.astype(np.float64) - bias) * (1 + fraction)
    values = sign * np.where(exponent == 0, np.exp2(1.0 - bias) * fraction, normal)
    top = exponent == 2**exponent_bits - 1
    if style == "fn":
        values[top & (mantissa == 2**mantissa_bits - 1)] = np.nan
    elif style == "ieee":
        values[top & (mantissa == 0)] *= np.inf
        values[top & (mantissa != 0)] = np.nan
    elif style == "fnuz":
        values[len(codes) // 2] = np.nan
    return values.astype(np.float32)
