"""The numbers of a tensor, whatever it is stored as: IEEE floats, 8-bit floats, integers, and the
quantization blocks of GGUF.

    readable(dtype)       whether `floats` knows it
    unit(dtype)           (elements, bytes) stored together: (1, 2) of BF16, (32, 18) of Q4_0
    floats(dtype, raw)    a whole number of units as float32
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.kinds import FLOATS, to_floats, words_of
from headwater.formats.safetensors import DTYPE_BITS
from headwater.formats.span import BLOCK_BYTES
from headwater.lineage.blocks import BLOCKS

Floats = npt.NDArray[np.float32]

_INTEGERS = {
    "I8": "i1", "U8": "u1", "BOOL": "u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4",
    "I64": "<i8", "U64": "<u8",
}  # fmt: skip


def readable(dtype: str) -> bool:
    """Whether the numbers of such a tensor can be told."""
    return dtype in FLOATS or dtype in BLOCKS or dtype in _INTEGERS or dtype == "F8_E5M2"


def unit(dtype: str) -> tuple[int, int]:
    """(elements, bytes) of the least that is stored together."""
    return BLOCK_BYTES.get(dtype) or (1, DTYPE_BITS[dtype] // 8)


def floats(dtype: str, raw: bytes | memoryview) -> Floats:
    """The numbers of `raw`, a whole number of units. What a float32 cannot hold is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype in FLOATS:
            return to_floats(dtype, words_of(dtype, raw))
        if dtype == "F8_E5M2":  # the upper half of an F16
            halves = np.frombuffer(raw, np.uint8).astype(np.uint16) << np.uint16(8)
            return to_floats("F16", halves)
        if dtype in BLOCKS:
            blocks = np.frombuffer(raw, np.uint8).reshape(-1, BLOCK_BYTES[dtype][1])
            return np.ascontiguousarray(BLOCKS[dtype](blocks), np.float32).reshape(-1)
        return np.frombuffer(raw, _INTEGERS[dtype]).astype(np.float32)
