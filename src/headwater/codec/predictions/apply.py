"""Doing what a prediction says, over byte ranges: the formulas, and the checks before one runs."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.codec.predictions import cast, linear, lora, prune, quant, rows, scaled, transpose
from headwater.codec.predictions.kinds import TensorKind
from headwater.codec.predictions.prediction import Formula, Prediction, quiet, require
from headwater.errors import Malformed

FORMULAS: dict[str, Formula] = {
    "cast": cast.FORMULA,
    "linear": linear.FORMULA,
    "lora": lora.FORMULA,
    "prune": prune.FORMULA,
    "quant": quant.FORMULA,
    "rows": rows.FORMULA,
    "scaled": scaled.FORMULA,
    "transpose": transpose.FORMULA,
}


def from_json(text: str | bytes) -> Prediction:
    """What `Prediction.to_json` wrote. Malformed for anything else."""
    return Prediction.parse(text, FORMULAS)


def check(prediction: Prediction, target: TensorKind, parents: Sequence[TensorKind]) -> Formula:
    """The formula of `prediction`; Malformed if it cannot make `target` out of `parents`."""
    formula = FORMULAS.get(prediction.op)
    if formula is None:
        raise Malformed(f"no formula is called {prediction.op[:40]!r}")
    formula.check(prediction.params)
    require(all(kind.known for kind in (target, *parents)), "a type that is not known")
    formula.fits(prediction.params, target, parents)
    return formula


def needs(
    prediction: Prediction, target: TensorKind, parents: Sequence[TensorKind], start: int, stop: int
) -> list[tuple[int, int]]:
    """The bytes of each parent that bytes `start` to `stop` of the target are made of.

    `start` and `stop` lie between elements (or blocks). A range may be empty; it always lies
    within its parent.
    """
    formula = check(prediction, target, parents)
    return _ranges(prediction, formula, target, parents, *_elements(target, start, stop))


def predict(
    prediction: Prediction,
    target: TensorKind,
    parents: Sequence[TensorKind],
    start: int,
    stop: int,
    parts: Sequence[memoryview],
) -> bytes:
    """Bytes `start` to `stop` of the target, out of what `needs` asked of each parent."""
    formula = check(prediction, target, parents)
    first, last = _elements(target, start, stop)
    wanted = _ranges(prediction, formula, target, parents, first, last)
    sizes = [memoryview(part).nbytes for part in parts]
    require(sizes == [stop - start for start, stop in wanted], "parts that are not what it needs")
    with quiet():
        return formula.run(prediction.params, target, parents, first, last, parts).tobytes()


def _ranges(
    prediction: Prediction,
    formula: Formula,
    target: TensorKind,
    parents: Sequence[TensorKind],
    first: int,
    last: int,
) -> list[tuple[int, int]]:
    ranges = formula.needs(prediction.params, target, parents, first, last)
    return [_bytes(kind, *range) for kind, range in zip(parents, ranges, strict=True)]


def _elements(kind: TensorKind, start: int, stop: int) -> tuple[int, int]:
    form = kind.format
    require(0 <= start <= stop <= kind.raw_bytes, "a range outside the tensor")
    require(start % form.block_bytes == stop % form.block_bytes == 0, "a range inside an element")
    return start // form.block_bytes * form.block, stop // form.block_bytes * form.block


def _bytes(kind: TensorKind, first: int, last: int) -> tuple[int, int]:
    form = kind.format
    return first // form.block * form.block_bytes, last // form.block * form.block_bytes
