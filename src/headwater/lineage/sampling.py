"""Numbers of a matrix at fixed places.

    places(matrix, count, purpose)         the same for all matrices of one role and shape
    read_values(model, matrix, elements)   the numbers there, reading little else
    read_rows(model, matrix, rows)         whole rows

Places depend on role and shape and not on the layer: what is compared may be another layer.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from headwater.lineage.model import Matrix, Model, Places
from headwater.lineage.roles import EMBED, HEAD
from headwater.lineage.scales import factors
from headwater.lineage.values import Floats, floats, unit

NUMBER_MAX = 1e15  # the square of such a number, times any width, still fits a float32
GAP_BYTES_MAX = 4096  # between two places that one read fetches: a page, the least a disk gives


def places(matrix: Matrix, count: int, purpose: str) -> tuple[Places, Places]:
    """(rows, columns) of `count` numbers, drawn anew for each `purpose`; of all of them, in order,
    when the matrix has no more than that. Of tables of words only rows below a power of two: a
    vocabulary that grew by some words keeps its places."""
    rows = matrix.rows
    if matrix.role.kind in (EMBED, HEAD):
        rows = 1 << (rows.bit_length() - 1) if rows else 0
    if rows * matrix.columns <= count:
        return np.divmod(np.arange(rows * matrix.columns, dtype=np.int64), matrix.columns)
    text = f"{purpose} {matrix.role.kind} {rows} {matrix.columns}"
    numbers = drawn(text, 2 * count)
    at = numbers[:count] % rows, numbers[count:] % matrix.columns
    return at[0].astype(np.int64), at[1].astype(np.int64)


def drawn(text: str, count: int) -> npt.NDArray[np.uint64]:
    """Numbers that follow from a text alone. A hash and not numpy's generator, whose numbers may be
    others in a later release."""
    return np.frombuffer(blake3(text.encode("utf-8", "replace")).digest(8 * count), "<u8")


def read_values(model: Model, matrix: Matrix, elements: Places) -> Floats:
    """The numbers of the stored tensor at `elements`, in their order. What is no number, or too
    large to compute with, is 0."""
    per_unit, unit_bytes = unit(matrix.span.dtype)
    units, within = np.divmod(elements, per_unit)
    wanted, back = np.unique(units, return_inverse=True)
    starts = matrix.span.start + wanted * unit_bytes
    raw = np.empty((len(wanted), unit_bytes), np.uint8)
    file = model.files[matrix.file]
    for first, last in _runs(starts, unit_bytes):
        at = int(starts[first])
        data = np.frombuffer(file.read(at, int(starts[last - 1]) + unit_bytes), np.uint8)
        offsets = (starts[first:last] - at)[:, None] + np.arange(unit_bytes)
        raw[first:last] = data[offsets]
    values = floats(matrix.span.dtype, raw.tobytes()).reshape(len(wanted), per_unit)
    found: Floats = values[back, within]
    if matrix.scale is not None:
        rows, columns = np.divmod(elements, matrix.columns)
        found = found * _factors(model, matrix, rows, columns)
    return _sound(found)


def read_rows(model: Model, matrix: Matrix, rows: Places, columns: int = 0) -> Floats:
    """(rows, columns) of the first `columns`, or all of them."""
    wide = min(columns or matrix.columns, matrix.columns)
    per_unit, unit_bytes = unit(matrix.span.dtype)
    firsts = matrix.elements(rows, np.zeros(len(rows), np.int64))
    if wide % per_unit or (firsts % per_unit).any():  # rows that begin within a block
        at = matrix.elements(np.repeat(rows, wide), np.tile(np.arange(wide), len(rows)))
        found = read_values(model, matrix, at).reshape(len(rows), wide)
    else:
        size = wide // per_unit * unit_bytes
        starts = matrix.span.start + firsts // per_unit * unit_bytes
        read = model.files[matrix.file].read
        raw = b"".join(read(start, start + size) for start in starts.tolist())
        found = floats(matrix.span.dtype, raw).reshape(len(rows), wide)
        if matrix.scale is not None:
            stored = firsts[:, None] // matrix.columns
            found = found * _factors(model, matrix, stored, np.arange(wide)[None])
    return _sound(found)


def _sound(values: Floats) -> Floats:
    found: Floats = np.where(np.abs(values) < NUMBER_MAX, values, np.float32(0))
    return found


def _factors(model: Model, matrix: Matrix, rows: Places, columns: Places) -> Floats:
    assert matrix.scale is not None
    size = int(np.prod(matrix.span.shape, dtype=np.int64)) // matrix.columns, matrix.columns
    return factors(model.files[matrix.file].read, matrix.scale, size, rows, columns)


def _runs(starts: npt.NDArray[np.int64], unit_bytes: int) -> list[tuple[int, int]]:
    """Which of them, rising, one read each fetches."""
    far = np.flatnonzero(np.diff(starts) > unit_bytes + GAP_BYTES_MAX) + 1
    edges = [0, *far.tolist(), len(starts)]
    return [(a, b) for a, b in pairwise(edges) if a < b]
