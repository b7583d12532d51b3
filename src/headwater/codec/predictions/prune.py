"""`prune`: the parent with a zero in the place of every element smaller than a threshold.

`signed` says that a zero has the sign of what was there, as multiplying by a mask leaves it.
Other masks are no formula: the store codes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.kinds import FLOATS, TensorKind, Words, to_words, words_of
from headwater.codec.predictions.prediction import (
    Formula,
    Kinds,
    Params,
    Parts,
    check_flag,
    check_keys,
    check_number,
    require,
    same_elements,
)


def params_of(below: float, *, signed: bool) -> Params:
    return {"below": float(below).hex(), "signed": signed}


def sign_bit(words: Words) -> Any:
    """The highest bit of an element, as a number of its own type."""
    return words.dtype.type(1 << (8 * words.dtype.itemsize - 1))


def _check(params: Params) -> None:
    check_keys(params, "below", "signed")
    check_number(params["below"])
    require(not params["below"].startswith("-"), "a threshold is not negative")
    check_flag(params, "signed")


def _fits(_: Params, target: TensorKind, parents: Kinds) -> None:
    require(len(parents) == 1 and parents[0] == target, "one parent of the same type and shape")
    require(target.dtype in FLOATS, "floats")


def _run(
    params: Params, target: TensorKind, _: Kinds, __: int, ___: int, parts: Parts
) -> npt.NDArray[Any]:
    words = words_of(target.dtype, parts[0])
    sign = sign_bit(words)
    # Without its sign bit, an element compares as an integer just as it does as a number.
    below = to_words(target.dtype, np.array([float.fromhex(params["below"])]))
    kept = (words & ~sign) >= below
    return np.where(kept, words, (words & sign) if params["signed"] else words.dtype.type(0))


FORMULA = Formula(_check, _fits, same_elements, _run)
