"""In which basis two models think: the same, one whose directions are in another order, one turned.

    basis(one, other) -> Kind | None      None where their tables of words cannot be compared

Asked of models that are known to be relatives. Each of some directions of the one is held against
all of the other's, by what many words have there: it is at the same place, at another, or nowhere.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from headwater.lineage.model import Matrix, Model
from headwater.lineage.probe import rows_of
from headwater.lineage.roles import EMBED, Role
from headwater.lineage.sampling import read_rows

WORDS = 1_024
WORDS_MIN = 64
DIRECTIONS = 32  # of the one
SAME_MIN = 0.75  # of a direction's correlation with its match; of a turned one it is some 0.1

Kind = Literal["same", "permuted", "rotated"]
Table = npt.NDArray[np.float64]


def basis(one: Model, other: Model) -> Kind | None:
    """What became of the directions of `one`."""
    tables = [model.matrices.get(Role(-1, EMBED)) for model in (one, other)]
    ours, theirs = tables
    if not ours or not theirs or not ours.readable or not theirs.readable:
        return None
    words = rows_of(ours, WORDS * ours.columns)
    same = np.array_equal(words, rows_of(theirs, WORDS * theirs.columns))
    if ours.columns != theirs.columns or not same or len(words) < WORDS_MIN:
        return None
    chosen = np.unique(np.linspace(0, ours.columns - 1, DIRECTIONS).astype(np.int64))
    x, y = _directions(one, ours, words)[:, chosen], _directions(other, theirs, words)
    alike = np.abs(x.T @ y)
    if float(np.median(alike[np.arange(len(chosen)), chosen])) >= SAME_MIN:
        return "same"
    return "permuted" if float(np.median(alike.max(axis=1))) >= SAME_MIN else "rotated"


def _directions(model: Model, table: Matrix, words: npt.NDArray[np.int64]) -> Table:
    """(words, directions), each direction with mean 0 and length 1."""
    found = read_rows(model, table, words).astype(np.float64)
    found -= found.mean(axis=0)
    lengths = np.linalg.norm(found, axis=0)
    unit: Table = found / np.where(lengths > 0, lengths, 1)
    return unit
