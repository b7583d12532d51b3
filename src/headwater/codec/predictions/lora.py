"""`lora`: a matrix with an adapter merged into it: base + scale * (B @ A).

Parents: base (out, in), A (r, in), B (out, r). B @ A is the sum over k of B[:, k] * A[k], from the
first to the last, in float32. `steps` says where the tool rounded to the target's type:
    f32     nowhere before the end
    delta   the scaled product once, before it was added
    each    the product, the scaled product and the sum
    fused   nowhere, and each step of the sum is one fused multiply-add, as BLAS does on a CPU
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.kinds import (
    FLOATS,
    Floats,
    TensorKind,
    rounded,
    to_floats,
    to_words,
    words_of,
)
from headwater.codec.predictions.prediction import (
    TILE,
    Formula,
    Kinds,
    Params,
    Parts,
    Ranges,
    check_keys,
    check_number,
    check_word,
    require,
)

STEPS = ("f32", "delta", "each", "fused")
RANK_MAX = 1024  # adapters go up to 256; the work for an element grows with it


def params_of(scale: float, steps: str) -> Params:
    return {"scale": float(scale).hex(), "steps": steps}


def _check(params: Params) -> None:
    check_keys(params, "scale", "steps")
    check_word(params, "steps", STEPS)
    check_number(params["scale"])


def _fits(_: Params, target: TensorKind, parents: Kinds) -> None:
    require(len(parents) == 3 and len(target.shape) == 2, "a matrix, its base, A and B")
    base, a, b = parents
    rank = a.shape[0] if a.shape else 0
    require(base.shape == target.shape and 1 <= rank <= RANK_MAX, "a base of the same shape")
    require(a.shape == (rank, target.shape[1]), "A of shape (rank, columns)")
    require(b.shape == (target.shape[0], rank), "B of shape (rows, rank)")
    require(all(kind.dtype in FLOATS for kind in (target, *parents)), "floats")


def _needs(_: Params, target: TensorKind, parents: Kinds, first: int, last: int) -> Ranges:
    """Of the base the same elements, of A all, of B the rows that are touched."""
    columns, rank = target.shape[1], parents[1].shape[0]
    if first == last:
        return [(first, first), (0, 0), (0, 0)]
    rows = (first // columns, (last - 1) // columns + 1)
    return [(first, last), (0, rank * columns), (rows[0] * rank, rows[1] * rank)]


def _run(
    params: Params, target: TensorKind, parents: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    columns, rank = target.shape[1], parents[1].shape[0]
    words = [words_of(kind.dtype, part) for kind, part in zip(parents, parts, strict=True)]
    a = to_floats(parents[1].dtype, words[1]).reshape(-1, columns)
    b = np.ascontiguousarray(to_floats(parents[2].dtype, words[2]).reshape(-1, rank).T)
    out = np.empty(last - first, words_of(target.dtype, b"").dtype)
    row_first = first // columns
    for row, row_stop, column, column_stop in _rectangles(first, last, columns):
        at = row * columns + column - first
        stop = at + (row_stop - row) * (column_stop - column)
        base = to_floats(parents[0].dtype, words[0][at:stop])
        delta = _product(
            b[:, row - row_first : row_stop - row_first], a[:, column:column_stop], params["steps"]
        )
        out[at:stop] = to_words(target.dtype, _merged(params, target.dtype, base, delta.ravel()))
    return out


def _rectangles(first: int, last: int, columns: int) -> Iterator[tuple[int, int, int, int]]:
    """The elements from `first` to `last` as rectangles: rows from, to, columns from, to."""
    while first < last:
        row, column = divmod(first, columns)
        if column or last - first < columns:
            stop = min(last, (row + 1) * columns)
            yield row, row + 1, column, column + stop - first
        else:
            rows = min(max(TILE // columns, 1), (last - first) // columns)
            stop = first + rows * columns
            yield row, row + rows, 0, columns
        first = stop


def _product(b: Floats, a: Floats, steps: str) -> Floats:
    """(rows, columns) from (rank, rows) and (rank, columns)."""
    total: Floats = b[0, :, None] * a[0]
    if steps == "fused":
        for left, right in zip(b[1:], a[1:], strict=True):
            # A product of two float32 is exact in float64; so the sum is rounded there, then here.
            exact = left[:, None].astype(np.float64) * right
            exact += total
            total = exact.astype(np.float32)
        return total
    for left, right in zip(b[1:], a[1:], strict=True):
        total += left[:, None] * right
    return total


def _merged(params: Params, dtype: str, base: Floats, delta: Floats) -> Floats:
    scale, steps = np.float32(float.fromhex(params["scale"])), params["steps"]
    if steps == "each":
        delta = rounded(dtype, delta)
    delta = delta * scale
    if steps in ("each", "delta"):
        delta = rounded(dtype, delta)
    return base + delta


FORMULA = Formula(_check, _fits, _needs, _run)
