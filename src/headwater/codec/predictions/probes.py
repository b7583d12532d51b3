"""A look at single places, before a guess is tried that reads whole heads or a whole matrix.

Of some hundred candidates of one shape all but one are dropped here, for a kilobyte each.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.codec.predictions.apply import predict
from headwater.codec.predictions.kinds import TensorKind
from headwater.codec.predictions.prediction import Prediction
from headwater.codec.predictions.samples import Samples

PLACES = (0.13, 0.37, 0.61, 0.87)  # of all rows; no first or last row of a head, save by chance
WRONG_MAX = 1  # places that may differ: a fused step, a tie
WIDTH = 32  # elements of a place: one block


def rows_match(
    samples: Samples, index: int, prediction: Prediction, came_from: Callable[[int], int]
) -> bool:
    """Whether rows of the target are what `prediction` makes of the rows that they came from.

    `prediction` is of one row by itself.
    """
    kind, source = samples.target, samples.candidates[index].kind
    rows, columns = kind.shape
    width = WIDTH if kind.format.block > 1 else min(WIDTH, columns)
    wrong = 0
    for place in PLACES:
        row = int(place * rows)
        column = int(place * (columns - width)) // WIDTH * WIDTH
        actual = samples.target_part(row * columns + column, width)
        part = samples.elements(index, came_from(row) * columns + column, width)
        one, parent = TensorKind(kind.dtype, (1, width)), TensorKind(source.dtype, (1, width))
        wrong += predict(prediction, one, [parent], 0, one.raw_bytes, [part]) != actual
    return wrong <= WRONG_MAX


def columns_match(samples: Samples, index: int) -> bool:
    """Whether elements of the target are a candidate's, with row and column exchanged."""
    kind, source = samples.target, samples.candidates[index].kind
    rows, columns = kind.shape
    one, parent = TensorKind(kind.dtype, (1,)), TensorKind(source.dtype, (1,))
    wrong = 0
    for down in PLACES:
        for along in PLACES:
            row, column = int(down * rows), int(along * columns)
            actual = samples.target_part(row * columns + column, 1)
            part = samples.elements(index, column * rows + row, 1)
            cast = Prediction("cast", {"heads": 1})
            wrong += predict(cast, one, [parent], 0, one.raw_bytes, [part]) != actual
    return wrong <= WRONG_MAX
