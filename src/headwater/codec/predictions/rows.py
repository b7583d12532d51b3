"""`rows`: the first rows are the parent's, as after a change of the vocabulary's size.

The rows after them are not predicted and come out as zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.kinds import TensorKind
from headwater.codec.predictions.prediction import (
    Formula,
    Kinds,
    Params,
    Parts,
    Ranges,
    check_keys,
    require,
)


def _check(params: Params) -> None:
    check_keys(params)


def _fits(_: Params, target: TensorKind, parents: Kinds) -> None:
    require(len(parents) == 1 and parents[0].dtype == target.dtype, "one parent of the same type")
    require(len(target.shape) >= 2, "rows")
    require(parents[0].shape[1:] == target.shape[1:], "rows of the same shape")
    require(parents[0].shape != target.shape, "another number of rows")


def _needs(_: Params, __: TensorKind, parents: Kinds, first: int, last: int) -> Ranges:
    there = parents[0].elements
    return [(min(first, there), min(last, there))]


def _run(
    _: Params, target: TensorKind, __: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    form = target.format
    out = np.zeros((last - first) // form.block * form.block_bytes, np.uint8)
    out[: len(parts[0])] = np.frombuffer(parts[0], np.uint8)
    return out


FORMULA = Formula(_check, _fits, _needs, _run)
