"""The order of rows that llama.cpp gives to the query and key matrices of Llama's kin.

Within each head the two halves are interleaved: row 2 j + i of a head was row i * half + j.
Formulas with `heads` over 1 read the parent in that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater.codec.predictions.kinds import TensorKind, Words, words_of
from headwater.codec.predictions.prediction import Kinds, Params, Ranges, require

HEAD_ROWS = (64, 128, 32, 80, 96, 256)  # of real models, the usual ones first
HEADS_MAX = 4096


def check_heads(params: Params) -> None:
    """Malformed unless `heads` is a number of heads; 1 means rows in their own order."""
    heads = params["heads"]
    require(type(heads) is int and 1 <= heads <= HEADS_MAX, "a number of heads")


def fit_heads(params: Params, target: TensorKind) -> None:
    """Malformed unless the rows of `target` are that many heads of an even number of rows."""
    heads = params["heads"]
    require(heads == 1 or len(target.shape) == 2, "a matrix, for heads")
    require(heads == 1 or target.shape[0] % (2 * heads) == 0, "heads of an even number of rows")


def needs_heads(params: Params, target: TensorKind, _: Kinds, first: int, last: int) -> Ranges:
    """Of the one parent: the same elements, or the heads that are touched, whole."""
    if params["heads"] == 1 or first == last:
        return [(first, last)]
    head = target.elements // params["heads"]
    return [(first // head * head, ((last - 1) // head + 1) * head)]


def came_within(row: Any, head: int) -> Any:
    """Where row `row` (a number or an array of them) of a head of `head` rows was before."""
    return row % 2 * (head // 2) + row // 2


def in_order(
    params: Params, target: TensorKind, source: TensorKind, first: int, last: int, part: memoryview
) -> Words:
    """The parent's elements in the target's order, out of what `needs_heads` asked."""
    words = words_of(source.dtype, part)
    if params["heads"] == 1 or first == last:
        return words
    columns = target.shape[1]
    head = target.shape[0] // params["heads"]
    row, stop = first // columns, (last - 1) // columns + 1
    rows = np.arange(row, stop)
    within = rows % head
    came = rows - within + came_within(within, head) - row // head * head
    ordered: Words = words.reshape(-1, columns)[came].ravel()
    start = first - row * columns
    return ordered[start : start + last - first]
