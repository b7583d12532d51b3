"""Rows of a model's matrices, to compare two models number by number.

    probe_of(model) -> Probe        some PROBE_NUMBERS of each matrix, a row at least
    probe.rows[role]                (rows, columns) as float32, as stored
    cast(values, dtypes)            what is left of numbers in files of these types

Which rows depends on kind and shape alone, so that the same rows of two models meet, and those of
one layer meet those of another. Whole rows, since blocks of a quantization lie along them. Some 15
MB for 32 layers of 4,096.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwater.lineage.model import LAYERS_MAX, Matrix, Model
from headwater.lineage.roles import EMBED, HEAD, MATRICES, Role
from headwater.lineage.sampling import drawn, read_rows
from headwater.lineage.values import Floats

PROBE_NUMBERS = 16_384  # of a matrix of a layer
TABLE_NUMBERS = 131_072  # of a table of words: most of a small model is there
VECTOR_MAX = 65_536  # of a norm or bias
EXPERTS = 2  # of each layer whose matrices are read: there are up to hundreds

_LEAST = {  # from where on numbers have all bits, and the step below that
    "F16": (2.0**-14, 2.0**-24), "F8_E4M3": (2.0**-6, 2.0**-9), "F8_E5M2": (2.0**-14, 2.0**-16),
}  # fmt: skip
# Bits of the significand, the leading one with them. What is quantized is finer than any cast.
_BITS = {"F64": 53, "F32": 24, "F16": 11, "BF16": 8, "F8_E4M3": 4, "F8_E5M2": 3}


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """`rows` of matrices, and one row of each vector."""

    rows: dict[Role, Floats]
    sizes: dict[Role, tuple[int, int]]  # rows and columns of the whole matrix
    dtypes: dict[Role, str]
    bits: dict[Role, int]  # of significand that the numbers use, which may be fewer than they have
    layers: int


def probe_of(model: Model) -> Probe:
    """The probe. Matrices whose numbers cannot be told are left out."""
    rows: dict[Role, Floats] = {}
    sizes: dict[Role, tuple[int, int]] = {}
    dtypes: dict[Role, str] = {}
    for role, matrix in model.matrices.items():
        if role.layer >= LAYERS_MAX or role.expert >= EXPERTS or not matrix.readable:
            continue
        if matrix.columns == 1:
            if 0 < matrix.rows <= VECTOR_MAX:
                rows[role] = read_rows(model, matrix, np.arange(matrix.rows, dtype=np.int64)).T
        elif role.kind in (*MATRICES, EMBED, HEAD):
            rows[role] = read_rows(model, matrix, rows_of(matrix))
        if role in rows:
            sizes[role] = matrix.rows, matrix.columns
            dtypes[role] = matrix.span.dtype if matrix.scale is None else "F32"
    bits = {role: used_bits(values, dtypes[role]) for role, values in rows.items()}
    return Probe(rows, sizes, dtypes, bits, model.layers)


def rows_of(matrix: Matrix, numbers: int = 0) -> npt.NDArray[np.int64]:
    """Rising numbers of the rows that a probe takes: `numbers` of numbers, or as many as usual."""
    table = matrix.role.kind in (EMBED, HEAD)
    # Of tables of words only rows below a power of two, as in `sampling.places`.
    known = 1 << (matrix.rows.bit_length() - 1) if table and matrix.rows else matrix.rows
    budget = numbers or (TABLE_NUMBERS if table else PROBE_NUMBERS)
    count = max(budget // matrix.columns, 1)
    if count >= known:
        return np.arange(known, dtype=np.int64)
    text = f"probe {matrix.role.kind} {known} {matrix.columns}"
    return np.unique(drawn(text, 2 * count) % known)[:count].astype(np.int64)


def significand(dtype: str) -> int:
    """Bits of the significand of a number of this type; of a block's, those of a float32."""
    return min(_BITS.get(dtype, 24), 24)


def used_bits(values: Floats, dtype: str) -> int:
    """Bits of significand that all of the numbers do with: BF16 in an F32 file is BF16."""
    for bits in (8, 11):
        if bits < significand(dtype) and np.array_equal(rounded(values, bits), values):
            return bits
    return significand(dtype)


def cast(values: Floats, dtypes: set[str]) -> Floats:
    """As they are after being stored in each of these types: what both of two files can hold."""
    for dtype in dtypes:
        full = rounded(values, significand(dtype))
        if dtype in _LEAST:  # the smallest numbers of a type have fewer bits
            least, step = _LEAST[dtype]
            full = np.where(np.abs(values) < least, np.rint(values / step) * step, full)
        values = full.astype(np.float32)
    return values


def rounded(values: Floats, bits: int) -> Floats:
    """The nearest floats with so many bits of significand, ties to even."""
    if bits >= 24:
        return values
    words = np.ascontiguousarray(values, np.float32).view(np.uint32)
    drop = np.uint32(24 - bits)
    half = (np.uint32(1) << (drop - np.uint32(1))) - np.uint32(1)
    up = words + half + ((words >> drop) & np.uint32(1))
    found: Floats = ((up >> drop) << drop).view(np.float32)
    return found
