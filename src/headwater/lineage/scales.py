"""Scales of numbers that were stored as small integers or 8-bit floats, in a tensor beside them.

    scale_of(span, named)            the scale that belongs to a tensor, by its name, or None
    factors(read, scale, ...)        what the numbers at some places are multiplied with

`X_scale` of compressed-tensors and TensorRT: one number, one a row, or one a group of columns.
`X_scale_inv` of DeepSeek: one a block of 128 x 128. `SCB` of bitsandbytes: 127 times one a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwater.formats.span import Span
from headwater.lineage.values import Floats, floats

SCALED = ("I8", "F8_E4M3", "F8_E5M2")
FACTOR_MAX = 1e15  # what is larger, or no number, is no scale
TYPES = ("F32", "F16", "BF16")  # of scales
BYTES_MAX = 16 * 2**20  # of a tensor of scales; one number in 128 of the largest matrices has 7 MB
_BLOCK = 128
_SCB = 127.0

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scale:
    """`block`: rows and columns that one number is for; 0: as many as share it evenly."""

    span: Span
    divisor: float = 1.0
    block: int = 0


def scale_of(span: Span, named: Mapping[str, Span]) -> Scale | None:
    """`named`: the tensors of the same file."""
    if span.dtype not in SCALED:
        return None
    stem = span.name.removesuffix(".weight")
    for name, divisor, block in (
        (f"{span.name}_scale", 1.0, 0),
        (f"{span.name}_scale_inv", 1.0, _BLOCK),
        (f"{stem}.SCB", _SCB, 0),
        (f"{span.name}.SCB", _SCB, 0),
    ):
        found = named.get(name)
        if found is None or found.dtype not in TYPES or len(found.shape) > 2:
            continue
        if found.stop - found.start <= BYTES_MAX:
            return Scale(found, divisor, block)
    return None


def factors(
    read: Callable[[int, int], bytes],
    scale: Scale,
    size: tuple[int, int],
    rows: Places,
    columns: Places,
) -> Floats:
    """For each place (row, column) of a matrix of `size`; `rows` and `columns` are broadcast."""
    span = scale.span
    shape = (*span.shape, 1, 1)[:2]
    table = floats(span.dtype, read(span.start, span.stop)).reshape(shape) / scale.divisor
    across = [
        scale.block or -(-size[side] // max(shape[side], 1)) for side in (0, 1)
    ]  # rows, and columns, for one number
    at = [
        np.minimum(place // across[side], shape[side] - 1)
        for side, place in enumerate((rows, columns))
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        found: Floats = np.asarray(table[at[0], at[1]], np.float32)
    return np.where(np.abs(found) < FACTOR_MAX, found, np.float32(0))
