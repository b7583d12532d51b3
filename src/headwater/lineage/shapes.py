"""Models whose tensors have no names that are known: matched by shape and some of their numbers.

    by_shape(one, other) -> Matched

For what is no transformer, and for graphs that lost the names and turned their matrices, as ONNX
does. Each tensor of the second is held against all of the first of its size, as it is and turned:
the most alike is its match, if chance does not reach so far. Numbers that were quantized and whose
scales stand elsewhere still correlate with what they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headwater.lineage.model import Matrix, Model
from headwater.lineage.roles import Role
from headwater.lineage.sampling import drawn, read_values
from headwater.lineage.values import readable

NUMBERS = 1_024  # of each tensor; chance reaches a correlation of 0.2 among thousands
MATCH_MIN = 0.4
ELEMENTS_MIN = 1_024  # of a tensor; smaller ones say little, and norms are alike everywhere
TENSORS_MAX = 1_024  # the largest; each is compared with all others of its size
SHARE_MIN = 0.5  # of the smaller model's numbers: a fixed filter bank is in many that are strangers

COARSE_MIN = 0.1  # of the matched numbers, integers in one model and not in the other

Numbers = npt.NDArray[np.float64]
INTEGERS = ("I8", "U8")


@dataclass(frozen=True, slots=True)
class Matched:
    """`share`: part of the numbers of the smaller model that are in matched tensors. `correlation`
    and `equal` are means over these; `coarse`: whose matched tensors are small integers, if only
    one's are."""

    tensors: int
    share: float
    correlation: float
    equal: float
    coarse: str

    @property
    def related(self) -> bool:
        return self.share >= SHARE_MIN


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    size: int
    integer: bool
    numbers: tuple[Numbers, ...]  # as it lies, and turned


def by_shape(one: Model, other: Model) -> Matched:
    """Whatever the two models are."""
    ours, theirs = _tensors(one), _tensors(other)
    free = {shape: list(tensors) for shape, tensors in ours.items()}
    matched: list[tuple[int, float, float, bool, bool]] = []
    for shape, tensors in theirs.items():
        for tensor in tensors:
            best, found = MATCH_MIN, None
            for mine in free.get(shape, ()):
                for numbers in tensor.numbers:
                    alike = _correlation(mine.numbers[0], numbers)
                    if alike > best:
                        best, found = alike, (mine, numbers)
            if found is not None:
                mine, numbers = found
                free[shape].remove(mine)
                equal = float((mine.numbers[0] == numbers).mean())
                matched.append((tensor.size, best, equal, mine.integer, tensor.integer))
    sizes = [sum(t.size for group in model.values() for t in group) for model in (ours, theirs)]
    if not matched or not min(sizes):
        return Matched(0, 0.0, 0.0, 0.0, "")
    weights = [row[0] for row in matched]
    coarse = [float(np.average([row[n] for row in matched], weights=weights)) for n in (3, 4)]
    return Matched(
        len(matched),
        sum(weights) / min(sizes),
        float(np.average([row[1] for row in matched], weights=weights)),
        float(np.average([row[2] for row in matched], weights=weights)),
        _coarse(*coarse),
    )


def _coarse(ours: float, theirs: float) -> str:
    """Whose numbers are integers where the other's are not; embeddings and filters often stay."""
    if abs(ours - theirs) < COARSE_MIN:
        return ""
    return "one" if ours > theirs else "other"


def _tensors(model: Model) -> dict[tuple[int, int], list[_Tensor]]:
    """The large ones, by their shape with the shorter side first."""
    made: dict[tuple[int, int], list[_Tensor]] = {}
    sized = sorted(
        ((int(np.prod(span.shape, dtype=np.int64)), at, span) for at, span in model.spans
         if len(span.shape) > 1 and readable(span.dtype)),
        key=lambda one: -one[0],
    )  # fmt: skip
    for size, file, span in sized[:TENSORS_MAX]:
        rows = int(span.shape[0])
        if size < ELEMENTS_MIN or not rows:
            continue
        matrix = Matrix(Role(-1, span.name), file, span, rows, size // rows)
        shape = (min(rows, matrix.columns), max(rows, matrix.columns))
        ways = [rows > matrix.columns] if shape[0] != shape[1] else [False, True]
        numbers = tuple(_numbers(model, matrix, shape, turned) for turned in ways)
        made.setdefault(shape, []).append(_Tensor(size, span.dtype in INTEGERS, numbers))
    return made


def _numbers(model: Model, matrix: Matrix, shape: tuple[int, int], turned: bool) -> Numbers:
    """At places that depend on the shape alone, of the matrix or of the turned one."""
    text = f"shape {shape[0]} {shape[1]}"
    numbers = drawn(text, 2 * NUMBERS)
    short = (numbers[:NUMBERS] % shape[0]).astype(np.int64)
    long = (numbers[NUMBERS:] % shape[1]).astype(np.int64)
    rows, columns = (long, short) if turned else (short, long)
    found = np.nan_to_num(read_values(model, matrix, matrix.elements(rows, columns)))
    return found.astype(np.float64)


def _correlation(a: Numbers, b: Numbers) -> float:
    x, y = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else 0.0
