"""The numbers of a tensor, whatever it is stored as: IEEE floats, 8-bit floats, integers, and the
quantization blocks of GGUF.

    readable(dtype)       whether `floats` knows it
    unit(dtype)           (elements, bytes) stored together: (1, 2) of BF16, (32, 18) of Q4_0
    floats(dtype, raw)    a whole number of units as float32
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.formats.span import BLOCK_BYTES
from headwater.lineage.blocks import BLOCKS

Floats = npt.NDArray[np.float32]

_PLAIN: dict[str, str] = {
    "F32": "<f4", "F64": "<f8", "F16": "<f2", "I8": "i1", "U8": "u1", "BOOL": "u1",
    "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8",
}  # fmt: skip


def readable(dtype: str) -> bool:
    """Whether the numbers of such a tensor can be told."""
    return dtype in _PLAIN or dtype in _TABLES or dtype == "BF16" or dtype in BLOCKS


def unit(dtype: str) -> tuple[int, int]:
    """(elements, bytes) of the least that is stored together."""
    if dtype in BLOCK_BYTES:
        return BLOCK_BYTES[dtype]
    if dtype in _TABLES:
        return 1, 1
    return 1, 2 if dtype == "BF16" else np.dtype(_PLAIN[dtype]).itemsize


def floats(dtype: str, raw: bytes | memoryview) -> Floats:
    """The numbers of `raw`, a whole number of units. What a float32 cannot hold is infinite."""
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype in _TABLES:
        table: Floats = _TABLES[dtype][np.frombuffer(raw, np.uint8)]
        return table
    if dtype in BLOCKS:
        blocks = np.frombuffer(raw, np.uint8).reshape(-1, BLOCK_BYTES[dtype][1])
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(BLOCKS[dtype](blocks), np.float32).reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.frombuffer(raw, _PLAIN[dtype]).astype(np.float32)


def _table8(exponent_bits: int, *, infinite: bool) -> Floats:
    """The 256 values of an 8-bit float. OCP's E4M3 has no infinity and one NaN; E5M2 is IEEE's."""
    mantissa_bits = 7 - exponent_bits
    codes = np.arange(256)
    exponent, mantissa = (codes >> mantissa_bits) & (2**exponent_bits - 1), codes % 2**mantissa_bits
    bias = 2 ** (exponent_bits - 1) - 1
    normal = (1 + mantissa / 2**mantissa_bits) * 2.0 ** (exponent - bias)
    small = mantissa / 2**mantissa_bits * 2.0 ** (1 - bias)
    values = np.where(exponent == 0, small, normal)
    top = exponent == 2**exponent_bits - 1
    if infinite:
        values[top] = np.where(mantissa[top] == 0, np.inf, np.nan)
    else:
        values[top & (mantissa == 2**mantissa_bits - 1)] = np.nan
    return np.asarray(np.where(codes >= 128, -values, values), np.float32)


_TABLES = {"F8_E4M3": _table8(4, infinite=False), "F8_E5M2": _table8(5, infinite=True)}
