"""`linear`: a weighted sum of one to four tensors, as tools that merge models compute it.

    base "none"    sum of c[i] * parent[i]
         "last"    parent[0] + sum of c[i] * (parent[i+1] - parent[0])     (task arithmetic, lerp)
         "first"   the same, with the sum begun at parent[0]

The sum is divided by `over` before a base is added to it: tools divide by the sum of the weights.

`steps` says where the tool rounded:
    f32     nowhere but at the end of a float32 computation
    f64     nowhere but at the end of a float64 computation
    fused   as f32, each product and sum in one step, as CPUs with FMA do it (torch.lerp)
    each    every product, difference and sum rounded to the target's type (PyTorch in BF16)
    added   coefficients, differences and sums, but no products (torch.add with alpha)
    stack   coefficients, differences and products rounded, the sum not until its end (mergekit)
Slerp is the sum with two coefficients that lie on no grid.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    PARENTS_MAX,
    Formula,
    Kinds,
    Params,
    Parts,
    check_keys,
    check_number,
    check_word,
    require,
    same_elements,
    tiles,
)

STEPS = ("f32", "f64", "fused", "each", "added", "stack")
BASES = ("none", "last", "first")


def params_of(
    coefficients: Sequence[float], steps: str, base: str = "none", over: float = 1.0
) -> Params:
    texts = [float(c).hex() for c in coefficients]
    return {"c": texts, "over": float(over).hex(), "steps": steps, "base": base}


def _check(params: Params) -> None:
    check_keys(params, "c", "over", "steps", "base")
    check_number(params["over"])
    require(float.fromhex(params["over"]) > 0, "a sum is divided by a positive number")
    check_word(params, "steps", STEPS)
    check_word(params, "base", BASES)
    numbers = params["c"]
    require(type(numbers) is list and 1 <= len(numbers) <= PARENTS_MAX, "one to four coefficients")
    for number in numbers:
        check_number(number)


def _fits(params: Params, target: TensorKind, parents: Kinds) -> None:
    weighted = len(parents) - (params["base"] != "none")
    require(weighted == len(params["c"]), "a coefficient for each parent")
    require(len(parents) <= PARENTS_MAX, "too many parents")
    for kind in (target, *parents):
        require(kind.dtype in FLOATS and kind.shape == target.shape, "floats of one shape")


def _run(
    params: Params, target: TensorKind, parents: Kinds, first: int, last: int, parts: Parts
) -> npt.NDArray[Any]:
    wide: type[np.floating[Any]] = np.float64 if params["steps"] == "f64" else np.float32
    words = [words_of(kind.dtype, part) for kind, part in zip(parents, parts, strict=True)]
    texts = [*params["c"], params["over"]]
    weights = np.array([float.fromhex(text) for text in texts]).astype(wide)
    if params["steps"] in ("added", "stack"):
        weights = rounded(target.dtype, weights)
    out = np.empty(last - first, words_of(target.dtype, b"").dtype)
    for tile in tiles(last - first):
        values = [
            to_floats(kind.dtype, word[tile], wide)
            for kind, word in zip(parents, words, strict=True)
        ]
        out[tile] = to_words(target.dtype, _sum(params, target.dtype, values, weights))
    return out


def _sum(params: Params, dtype: str, values: list[Floats], weights: Floats) -> Floats:
    """The weighted sum of `values`, not yet rounded to `dtype` at its end.

    The last of `weights` is what the sum is divided by.
    """
    steps, base = params["steps"], params["base"]

    def step(floats: Floats, *where: str) -> Floats:
        return rounded(dtype, floats) if steps in where else floats

    start = values[0]
    if base != "none":
        values = [step(value - start, "each", "stack", "added") for value in values[1:]]
    total: Floats | None = start if base == "first" else None
    for value, weight in zip(values, weights[:-1], strict=True):
        if total is None:
            total = step(value * weight, "each", "stack")
        elif steps == "fused":  # a product of two float32 is exact in float64
            total = (value.astype(np.float64) * weight + total).astype(np.float32)
        else:
            total = step(total, "each", "added") + step(value * weight, "each", "stack")
    assert total is not None  # there is at least one weight
    if weights[-1] != 1:
        total = step(total, "each", "stack", "added") / weights[-1]
    if base == "last":
        total = start + step(total, "each", "stack", "added")
    return total


FORMULA = Formula(_check, _fits, same_elements, _run)
