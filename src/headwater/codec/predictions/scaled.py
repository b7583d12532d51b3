"""`scaled`: weights divided by a scale and stored in 8 bits, as I8 or F8_E4M3.

    scale "own"      of each row: its largest / 127 (I8) or / 448 (F8_E4M3)
          "given"    by a second parent: one for all, one for each row, or one for each 128 x 128
    form "divide"    w / scale
         "inverse"   w * (1 / scale)
         "multiply"  w * (127 / largest), the scale given being the largest (bitsandbytes)
    steps "f32"      in float32
          "each"     quotient or product rounded to the type of the weights
Whole numbers are rounded with ties to even; what is no number becomes zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.kinds import (
    FLOATS,
    Floats,
    TensorKind,
    Words,
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
    check_word,
    require,
    tiles,
)

FORMS = ("divide", "inverse", "multiply")
STEPS = ("f32", "each")
LARGEST = {"I8": 127, "F8_E4M3": 448}
ROW_ELEMENTS_MAX = 2**21  # rows are needed whole; real ones have up to 160,000
SQUARE = 128  # the side of the blocks that share a scale, in every checkpoint that has them


def params_of(scale: str, form: str, steps: str) -> Params:
    return {"scale": scale, "form": form, "steps": steps}


def scales_of(target: TensorKind) -> tuple[tuple[int, int], ...]:
    """Rows and columns that given scales may have."""
    rows, columns = _matrix(target)
    return (1, 1), (rows, 1), (-(-rows // SQUARE), -(-columns // SQUARE))


def _matrix(target: TensorKind) -> tuple[int, int]:
    columns = target.shape[-1]
    return target.elements // max(columns, 1), columns


def _scales(target: TensorKind, given: TensorKind) -> tuple[int, int] | None:
    """Rows and columns of `given`; None if they are not scales of `target`."""
    _, by_row, by_square = scales_of(target)
    if given.elements == 1:
        return (1, 1)
    if given.elements == by_row[0]:
        return by_row
    return by_square if given.shape == by_square else None


def _check(params: Params) -> None:
    check_keys(params, "scale", "form", "steps")
    check_word(params, "scale", ("own", "given"))
    check_word(params, "form", FORMS)
    check_word(params, "steps", STEPS)


def _fits(params: Params, target: TensorKind, parents: Kinds) -> None:
    require(target.dtype in LARGEST and len(target.shape) >= 2, "rows of I8 or F8_E4M3")
    require(len(parents) == 1 + (params["scale"] == "given"), "the weights, and scales if given")
    require(parents[0].shape == target.shape, "weights of the same shape")
    require(all(kind.dtype in FLOATS for kind in parents), "floats")
    require(target.shape[-1] <= ROW_ELEMENTS_MAX, "rows that can be read whole")
    fitting = all(_scales(target, kind) is not None for kind in parents[1:])
    require(fitting, "a scale for all, for each row or for each square")


def _needs(_: Params, target: TensorKind, parents: Kinds, first: int, last: int) -> Ranges:
    """The rows that are touched, whole, and their scales."""
    if first == last:
        return [(0, 0)] * len(parents)
    rows, stop = _rows(target, first, last)
    columns = target.shape[-1]
    ranges = [(rows * columns, stop * columns)]
    for kind in parents[1:]:
        shape = _scales(target, kind)
        assert shape is not None  # it fits
        start, end = _scale_rows(shape, target, rows, stop)
        ranges.append((start * shape[1], end * shape[1]))
    return ranges


def _rows(target: TensorKind, first: int, last: int) -> tuple[int, int]:
    return first // target.shape[-1], (last - 1) // target.shape[-1] + 1


def _scale_rows(shape: tuple[int, int], target: TensorKind, row: int, stop: int) -> tuple[int, int]:
    """Rows of scales for rows of weights."""
    if shape == (1, 1):
        return 0, 1
    if shape[1] == 1 and shape[0] == _matrix(target)[0]:
        return row, stop
    return row // SQUARE, (stop - 1) // SQUARE + 1


def _run(
    params: Params, target: TensorKind, parents: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    if first == last:
        return np.empty(0, np.uint8)
    columns, source = target.shape[-1], parents[0].dtype
    row, stop = _rows(target, first, last)
    words = words_of(source, parts[0]).reshape(stop - row, columns)
    out = np.empty((stop - row, columns), np.uint8)
    for tile in tiles(stop - row, max(TILE // columns, 1)):
        values = to_floats(source, words[tile])
        if parts[1:]:
            scales = _given(target, parents[1], parts[1], row, tile)
        else:
            scales = np.abs(values).max(axis=1, keepdims=True)
        out[tile] = _stored(params, target.dtype, source, values, scales)
    start = first - row * columns
    return out.ravel()[start : start + last - first]


def _given(target: TensorKind, kind: TensorKind, part: memoryview, row: int, tile: slice) -> Floats:
    """The scales of the rows of `tile`, counted from `row`, to divide those rows by."""
    shape = _scales(target, kind)
    assert shape is not None
    scales = to_floats(kind.dtype, words_of(kind.dtype, part)).reshape(-1, shape[1])
    if shape == (1, 1):
        return scales
    start, _ = _scale_rows(shape, target, row, row + 1)
    if shape[1] == 1 and shape[0] == _matrix(target)[0]:
        return scales[tile]
    at = np.arange(row + tile.start, row + tile.stop) // SQUARE - start
    return np.repeat(scales, SQUARE, axis=1)[at, : target.shape[-1]]


def _stored(params: Params, dtype: str, source: str, values: Floats, scales: Floats) -> Words:
    """`scales` are the largest of each row where they are not given."""
    largest = np.float32(LARGEST[dtype])
    if params["form"] == "multiply":
        scaled = values * (largest / scales)
    else:
        scales = scales if params["scale"] == "given" else scales / largest
        inverse = params["form"] == "inverse"
        scaled = values * (np.float32(1) / scales) if inverse else values / scales
    if params["steps"] == "each":
        scaled = rounded(source, scaled)
    scaled = np.where(scaled == scaled, scaled, np.float32(0))
    if dtype == "F8_E4M3":
        return to_words(dtype, scaled)
    return np.clip(np.rint(scaled), -128, 127).astype(np.int8).view(np.uint8)


FORMULA = Formula(_check, _fits, _needs, _run)
