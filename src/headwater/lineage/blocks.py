"""GGUF's quantization blocks as numbers, as ggml's `dequantize_row_*` take them apart.

    BLOCKS[type](blocks)   (blocks, bytes of one) uint8 -> as many rows of numbers, of any shape

A block whose scale is no number gives none. The lattice types (IQ1 to IQ3) and the ternary ones are
not here: their tables are kilobytes, and no file of the field has only them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Blocks = npt.NDArray[np.uint8]

_IQ4 = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)  # ggml's kvalues_iq4nl
_FP4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)  # doubled


def _floats(values: Any) -> Floats:
    return np.asarray(values, np.float32)


def _f16(blocks: Blocks, at: int) -> Floats:
    """(blocks, 1): the half float at byte `at` of each."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(bytes_: Blocks) -> Floats:
    """Low halves first, then high ones, of each row."""
    return np.concatenate([bytes_ & 15, bytes_ >> 4], axis=1).astype(np.float32)


def _fifth(blocks: Blocks, at: int) -> Floats:
    """(blocks, 32): 16 for each bit that is set in four bytes."""
    return np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little").astype(np.float32) * 16


def _q4_0(b: Blocks) -> Floats:
    return _f16(b, 0) * (_nibbles(b[:, 2:]) - 8)


def _q4_1(b: Blocks) -> Floats:
    return _f16(b, 0) * _nibbles(b[:, 4:]) + _f16(b, 2)


def _q5_0(b: Blocks) -> Floats:
    return _f16(b, 0) * (_nibbles(b[:, 6:]) + _fifth(b, 2) - 16)


def _q5_1(b: Blocks) -> Floats:
    return _f16(b, 0) * (_nibbles(b[:, 8:]) + _fifth(b, 4)) + _f16(b, 2)


def _q8_0(b: Blocks) -> Floats:
    return _f16(b, 0) * b[:, 2:].view(np.int8).astype(np.float32)


def _pairs(b: Blocks) -> npt.NDArray[Any]:
    """(blocks, 64 k) of 2-bit fields as (blocks, k / 32, 4, 32): by 32 bytes, then by field."""
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    fields: npt.NDArray[Any] = (b.reshape(len(b), -1, 1, 32) >> shifts) & 3
    return fields


def _q2_k(b: Blocks) -> Floats:
    scales = b[:, :16]
    scale = (_f16(b, 80) * (scales & 15)).reshape(-1, 16, 1)
    least = (_f16(b, 82) * (scales >> 4)).reshape(-1, 16, 1)
    return _floats(scale * _pairs(b[:, 16:80]).reshape(-1, 16, 16) - least)


def _q3_k(b: Blocks) -> Floats:
    packed = b[:, 96:108]
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 4, 1)
    high = ((packed[:, None, 8:] >> shifts) & 3).reshape(-1, 16)
    scale = _f16(b, 108) * ((low | (high << 4)).astype(np.float32) - 32)
    bits = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    third = ((b[:, None, :32] >> bits) & 1).reshape(-1, 16, 16)
    steps = _pairs(b[:, 32:96]).reshape(-1, 16, 16).astype(np.float32) - 4 * (third ^ 1)
    return _floats(scale.reshape(-1, 16, 1) * steps)


def _scales_k(packed: Blocks) -> tuple[Floats, Floats]:
    """Eight scales and eight minima of six bits each, out of twelve bytes."""
    low, middle, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scale = np.concatenate([low & 63, (high & 15) | ((low >> 2) & 48)], axis=1)
    least = np.concatenate([middle & 63, (high >> 4) | ((middle >> 2) & 48)], axis=1)
    return scale.astype(np.float32), least.astype(np.float32)


def _by_32(b: Blocks) -> Floats:
    """(blocks, 128) of nibbles as (blocks, 8, 32): low halves of 32 bytes, then their high ones."""
    halves = b.reshape(-1, 4, 1, 32) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    return _floats(halves & 15).reshape(-1, 8, 32)


def _q4_k(b: Blocks) -> Floats:
    scale, least = _scales_k(b[:, 4:16])
    steps = _by_32(b[:, 16:])
    return (_f16(b, 0) * scale)[..., None] * steps - (_f16(b, 2) * least)[..., None]


def _q5_k(b: Blocks) -> Floats:
    scale, least = _scales_k(b[:, 4:16])
    bits = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    fifth = ((b[:, None, 16:48] >> bits) & 1).astype(np.float32) * 16
    steps = _by_32(b[:, 48:]) + fifth
    return _floats((_f16(b, 0) * scale)[..., None] * steps - (_f16(b, 2) * least)[..., None])


def _q6_k(b: Blocks) -> Floats:
    halves = b[:, :128].reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    low = (halves & 15).reshape(-1, 8, 32)
    high = _pairs(b[:, 128:192]).reshape(-1, 8, 32)
    steps = (low | (high << 4)).astype(np.float32) - 32
    scale = _f16(b, 208) * b[:, 192:208].view(np.int8).astype(np.float32)
    return _floats(scale.reshape(-1, 16, 1) * steps.reshape(-1, 16, 16))


def _iq4_nl(b: Blocks) -> Floats:
    return _floats(_f16(b, 0) * _IQ4[_nibbles(b[:, 2:]).astype(np.uint8)])


def _iq4_xs(b: Blocks) -> Floats:
    packed_high = np.ascontiguousarray(b[:, 2:4]).view("<u2").astype(np.uint16)
    high = (packed_high >> (2 * np.arange(8, dtype=np.uint16))) & np.uint16(3)
    low = np.stack([b[:, 4:8] & 15, b[:, 4:8] >> 4], axis=-1).reshape(-1, 8)
    scale = _f16(b, 0) * ((low | (high << 4)).astype(np.float32) - 32)
    packed = b[:, 8:].reshape(-1, 8, 16)
    steps = _IQ4[np.concatenate([packed & 15, packed >> 4], axis=-1)]
    return _floats(scale[..., None] * steps)


def _mxfp4(b: Blocks) -> Floats:
    scale = np.ldexp(np.float32(1), b[:, :1].astype(np.int32) - 128)  # the table is doubled
    return _floats(scale * _FP4[_nibbles(b[:, 1:]).astype(np.uint8)])


BLOCKS: dict[str, Callable[[Blocks], Floats]] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
    "IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs, "MXFP4": _mxfp4,
}  # fmt: skip
