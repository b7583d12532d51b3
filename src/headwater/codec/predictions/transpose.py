"""`transpose`: a matrix with rows and columns exchanged, perhaps in another type of float.

Rows of the target are columns of the parent, so that the parent is needed whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.cast import cast
from headwater.codec.predictions.kinds import FLOATS, TensorKind, words_of
from headwater.codec.predictions.prediction import (
    Formula,
    Kinds,
    Params,
    Parts,
    Ranges,
    check_keys,
    require,
)

PARENT_BYTES_MAX = 64 * 2**20  # it is read whole for every frame


def _check(params: Params) -> None:
    check_keys(params)


def _fits(_: Params, target: TensorKind, parents: Kinds) -> None:
    require(len(parents) == 1 and len(target.shape) == 2, "one parent, a matrix")
    require(parents[0].shape == target.shape[::-1], "rows and columns exchanged")
    require(target.dtype in FLOATS and parents[0].dtype in FLOATS, "floats")
    require(parents[0].raw_bytes <= PARENT_BYTES_MAX, "a parent that can be read whole")


def _needs(_: Params, __: TensorKind, parents: Kinds, first: int, last: int) -> Ranges:
    return [(0, parents[0].elements if first < last else 0)]


def _run(
    _: Params, target: TensorKind, parents: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    columns = target.shape[1]
    if first == last:
        return np.empty(0, np.uint8)
    row, stop = first // columns, (last - 1) // columns + 1
    parent = words_of(parents[0].dtype, parts[0]).reshape(parents[0].shape)
    words = np.ascontiguousarray(parent[:, row:stop].T).ravel()
    start = first - row * columns
    return cast(parents[0].dtype, target.dtype, words[start : start + last - first])


FORMULA = Formula(_check, _fits, _needs, _run)
