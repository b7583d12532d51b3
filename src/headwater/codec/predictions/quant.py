"""`quant`: GGUF's simple block types from floats, as llama.cpp's reference quantizers make them.

A block is 32 elements. Q8_0, Q4_0 and Q5_0 keep a scale, Q4_1 and Q5_1 also the smallest element.
`heads` says how rows are ordered (headwater.codec.predictions.heads).
`fused` says that the compiler joined the multiplication and the addition before truncation, as
compilers do on CPUs that have FMA. A block with NaN, infinity or a scale too small to invert, which
C leaves undefined, has zeros for its elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.heads import check_heads, fit_heads, in_order, needs_heads
from headwater.codec.predictions.kinds import (
    FLOATS,
    FORMATS,
    Floats,
    TensorKind,
    to_floats,
    to_words,
)
from headwater.codec.predictions.prediction import (
    TILE,
    Formula,
    Kinds,
    Params,
    Parts,
    check_flag,
    check_keys,
    require,
    tiles,
)

TYPES = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
_BLOCK = 32
_Bytes = npt.NDArray[np.uint8]


def _check(params: Params) -> None:
    check_keys(params, "fused", "heads")
    check_heads(params)
    check_flag(params, "fused")


def _fits(params: Params, target: TensorKind, parents: Kinds) -> None:
    require(target.dtype in TYPES, "a type in blocks")
    require(len(parents) == 1 and parents[0].shape == target.shape, "one parent of the same shape")
    require(parents[0].dtype in FLOATS, "floats")
    fit_heads(params, target)
    require(not (params["fused"] and target.dtype == "Q8_0"), "Q8_0 has nothing to fuse")


def _run(
    params: Params, target: TensorKind, parents: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    words = in_order(params, target, parents[0], first, last, parts[0])
    blocks = (last - first) // _BLOCK
    out = np.empty((blocks, FORMATS[target.dtype].block_bytes), np.uint8)
    for tile in tiles(blocks, TILE // _BLOCK):
        values = to_floats(parents[0].dtype, words[tile.start * _BLOCK : tile.stop * _BLOCK])
        # One column for each block: then every operation runs over many blocks at once.
        columns = np.ascontiguousarray(values.reshape(-1, _BLOCK).T).astype(np.float32, copy=False)
        out[tile] = _blocks(target.dtype, columns, fused=params["fused"]).T
    return out


def _blocks(dtype: str, columns: Floats, *, fused: bool) -> _Bytes:
    """(32, blocks) numbers -> (block_bytes, blocks) bytes."""
    top, bottom = columns.max(axis=0), columns.min(axis=0)
    levels = {"Q8_0": 127, "Q4_0": 8, "Q5_0": 16, "Q4_1": 15, "Q5_1": 31}[dtype]
    if dtype == "Q8_0":
        scale = np.maximum(np.abs(top), np.abs(bottom)) / np.float32(levels)
        inverse, strange = _inverse(scale)
        scaled = columns * inverse
        whole = np.trunc(scaled)
        rest = scaled - whole  # exact; halves go away from zero
        whole += rest >= np.float32(0.5)
        whole -= rest <= np.float32(-0.5)
        whole[:, strange] = 0
        return np.concatenate([_f16(scale), whole.astype(np.int8).view(np.uint8)])
    if dtype in ("Q4_0", "Q5_0"):
        scale = _extreme(columns, top, bottom) / np.float32(-levels)
        inverse, strange = _inverse(scale)
        whole = _whole(columns, inverse, levels + 0.5, 2 * levels - 1, strange, fused=fused)
        head = [_f16(scale)]
    else:
        least = _first_zero(columns, bottom)
        scale = (top - least) / np.float32(levels)
        scale[scale == 0] = 0  # of zeros alone, whatever the sign that `max` took
        inverse, strange = _inverse(scale)
        whole = _whole(columns - least, inverse, 0.5, levels, strange, fused=fused)
        head = [_f16(scale), _f16(least)]
    if dtype in ("Q5_0", "Q5_1"):
        head.append(np.packbits(whole >> 4, axis=0, bitorder="little"))
        whole &= 15
    return np.concatenate([*head, whole[:16] | (whole[16:] << 4)])


def _inverse(scale: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """1 / scale, zero for zero; and which blocks have no usable one."""
    inverse = np.where(scale == 0, np.float32(0), np.float32(1) / scale)
    return inverse, ~(np.isfinite(scale) & np.isfinite(inverse))


def _whole(
    columns: Floats,
    inverse: Floats,
    offset: float,
    most: int,
    strange: npt.NDArray[np.bool_],
    *,
    fused: bool,
) -> _Bytes:
    """trunc(column * inverse + offset), from 0 to `most`."""
    if fused:  # exact in float64 up to the addition
        exact = columns.astype(np.float64) * inverse
        exact += offset
        scaled = exact.astype(np.float32)
    else:
        scaled = columns * inverse
        scaled += np.float32(offset)
    scaled[:, strange] = 0
    return np.clip(scaled, 0, most).astype(np.uint8)


def _extreme(columns: Floats, top: Floats, bottom: Floats) -> Floats:
    """The element farthest from zero, of two equally far the first; +0 if all are zeros."""
    extreme = np.where(top > -bottom, top, bottom)
    both = np.flatnonzero((top == -bottom) & (top != 0))
    if both.size:
        at = (np.abs(columns[:, both]) == top[both]).argmax(axis=0)
        extreme[both] = columns[at, both]
    return np.where(extreme == 0, np.float32(0), extreme)


def _first_zero(columns: Floats, bottom: Floats) -> Floats:
    """`bottom`; where that is a zero, the first zero of the block, with its sign."""
    zero = np.flatnonzero(bottom == 0)
    if zero.size:
        at = (columns[:, zero] == 0).argmax(axis=0)
        bottom[zero] = columns[at, zero]
    return bottom


def _f16(values: Floats) -> _Bytes:
    """(2, blocks): each as the two bytes of an F16."""
    return to_words("F16", values).astype("<u2").view(np.uint8).reshape(-1, 2).T


FORMULA = Formula(_check, _fits, needs_heads, _run)
