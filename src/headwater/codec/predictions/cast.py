"""`cast`: the same numbers in another type of float, rounded to nearest, ties to even.

`heads` says how rows are ordered (headwater.codec.predictions.heads).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.heads import check_heads, fit_heads, in_order, needs_heads
from headwater.codec.predictions.kinds import (
    FLOATS,
    TensorKind,
    Words,
    to_floats,
    to_words,
    words_of,
)
from headwater.codec.predictions.prediction import (
    Formula,
    Kinds,
    Params,
    Parts,
    check_keys,
    quiet,
    require,
    tiles,
)


def cast(source: str, target: str, words: Words) -> Words:
    """Elements of type `source` as elements of type `target`."""
    if source == target:
        return words
    if source in ("BF16", "F16") and target == "F8_E4M3":
        return _table(source, target)[words]
    wide = np.float64 if "F64" in (source, target) else np.float32
    return to_words(target, to_floats(source, words, wide))


@cache
def _table(source: str, target: str) -> Words:
    """What each of the 65,536 elements of a 16-bit type becomes; a look-up beats 15 operations."""
    with quiet():
        return to_words(target, to_floats(source, np.arange(65_536, dtype=np.uint16)))


def _check(params: Params) -> None:
    check_keys(params, "heads")
    check_heads(params)


def _fits(params: Params, target: TensorKind, parents: Kinds) -> None:
    require(len(parents) == 1 and parents[0].shape == target.shape, "one parent of the same shape")
    fit_heads(params, target)
    require(target.dtype in FLOATS and parents[0].dtype in FLOATS, "floats")


def _run(
    params: Params, target: TensorKind, parents: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    words = in_order(params, target, parents[0], first, last, parts[0])
    out = np.empty(last - first, words_of(target.dtype, b"").dtype)
    for tile in tiles(last - first):
        out[tile] = cast(parents[0].dtype, target.dtype, words[tile])
    return out


FORMULA = Formula(_check, _fits, needs_heads, _run)
