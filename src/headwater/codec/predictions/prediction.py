"""A prediction: the name of a formula with its numbers; and what each formula module promises.

    Prediction(op, params)      to_json() and from_json(), strict both ways
    Formula                     the four functions of one op, over elements, not bytes

Numbers that take part in arithmetic are texts of `float.hex`, so that no JSON writer rounds them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.kinds import TensorKind
from headwater.errors import Malformed

JSON_CHARS_MAX = 4096  # the longest honest one has some 200
NUMBER_MAX = 2.0**32  # coefficients are near 1, thresholds and scales below it
TILE = 32_768  # elements worked on at a time, so that temporaries stay in the second-level cache
PARENTS_MAX = 4

Params = dict[str, Any]
Ranges = list[tuple[int, int]]
Parts = Sequence[memoryview]
Kinds = Sequence[TensorKind]


@dataclass(frozen=True, slots=True)
class Formula:
    """One op. Ranges are of elements, half open; on block borders where a type has blocks."""

    check: Callable[[Params], None]  # Malformed unless these are its parameters
    fits: Callable[[Params, TensorKind, Kinds], None]  # Malformed unless it can be done
    needs: Callable[[Params, TensorKind, Kinds, int, int], Ranges]
    run: Callable[[Params, TensorKind, Kinds, int, int, Parts], npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """`op` names a formula of `headwater.codec.predict`; `params` are its own."""

    op: str
    params: Params

    def to_json(self) -> str:
        return json.dumps({"op": self.op, **self.params}, separators=(",", ":"), allow_nan=False)

    @classmethod
    def parse(cls, text: str | bytes, formulas: dict[str, Formula]) -> Prediction:
        """Malformed for anything but the text of a prediction by one of `formulas`."""
        if len(text) > JSON_CHARS_MAX:
            raise Malformed(f"prediction of {len(text)} characters; up to {JSON_CHARS_MAX}")
        try:
            fields = json.loads(
                text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_refuse
            )
        except (ValueError, RecursionError):
            raise Malformed("prediction is not JSON") from None
        if type(fields) is not dict or type(fields.get("op")) is not str:
            raise Malformed("prediction is not an object with an `op`")
        op = fields.pop("op")
        if op not in formulas:
            raise Malformed(f"no formula is called {op[:40]!r}")
        formulas[op].check(fields)
        return cls(op, fields)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"number {text[:40]}")


def check_keys(params: Params, *keys: str) -> None:
    """Malformed unless `params` has these keys and no other."""
    if set(params) != set(keys):
        raise Malformed(f"prediction has {sorted(params)}, not {sorted(keys)}")


def check_word(params: Params, key: str, words: Sequence[str]) -> None:
    """Malformed unless `params[key]` is one of `words`."""
    if type(params[key]) is not str or params[key] not in words:
        raise Malformed(f"prediction's {key} is not one of {', '.join(words)}")


def check_flag(params: Params, key: str) -> None:
    if type(params[key]) is not bool:
        raise Malformed(f"prediction's {key} is not true or false")


def usable(number: float) -> bool:
    """Whether a prediction may hold `number`."""
    return abs(number) <= NUMBER_MAX  # false of NaN


def check_number(text: object) -> None:
    """Malformed unless `text` is what `float.hex` says of a number within NUMBER_MAX."""
    if type(text) is str and len(text) <= 32:
        try:
            number = float.fromhex(text)
        except (ValueError, OverflowError):
            number = math.nan
        if usable(number) and number.hex() == text:
            return
    raise Malformed("prediction has a number that is not written as it should be")


def require(condition: bool, what: str) -> None:
    """Malformed with `what` unless `condition`: the tensors do not fit the formula."""
    if not condition:
        raise Malformed(f"prediction: {what}")


def same_elements(_: Params, __: TensorKind, parents: Kinds, first: int, last: int) -> Ranges:
    """What an elementwise formula needs: of each parent the elements that it predicts."""
    return [(first, last)] * len(parents)


def tiles(count: int, size: int = TILE) -> Iterator[slice]:
    """`range(count)` cut into slices of up to `size`."""
    for at in range(0, count, size):
        yield slice(at, min(at + size, count))


def quiet() -> np.errstate:
    """Overflow, NaN and division by zero are results here, not news."""
    return np.errstate(all="ignore")
