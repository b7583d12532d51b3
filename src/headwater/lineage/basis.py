"""In which basis two models think: the same, one whose directions are in another order, one turned.

    basis(one, other) -> Basis | None      None where their tables of words cannot be compared

The orthogonal map that carries the embeddings of some words of the one nearest to those of the
other (Procrustes; Schoenemann 1966) is found on half of the words and judged on the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from headwater.lineage.model import Matrix, Model
from headwater.lineage.probe import rows_of
from headwater.lineage.roles import EMBED, Role
from headwater.lineage.sampling import read_rows

WIDTH_MAX = 2_048  # of the embedding: the map has as many rows and columns, and takes its cube
WORDS_EACH = 3  # words for each direction, half of them to find the map
FIT_MIN = 0.7  # of the variance on words that were not used; strangers reach 0.3
SAME_COSINE_MIN = 0.75
ONE_OF_MANY = 0.8  # of a row of the map in its largest entry: it is an order, not a turn

Kind = Literal["same", "permuted", "rotated", "none"]


@dataclass(frozen=True, slots=True)
class Basis:
    kind: Kind
    fit: float  # part of the variance that the map explains


def basis(one: Model, other: Model) -> Basis | None:
    """What carries the words of one into those of the other."""
    tables = [model.matrices.get(Role(-1, EMBED)) for model in (one, other)]
    ours, theirs = tables
    if not ours or not theirs or not ours.readable or not theirs.readable:
        return None
    if ours.columns != theirs.columns or ours.columns > WIDTH_MAX:
        return None
    words = rows_of(ours, WORDS_EACH * ours.columns**2)
    if not np.array_equal(words, rows_of(theirs, WORDS_EACH * theirs.columns**2)):
        return None
    x, y = _words(one, ours, words), _words(other, theirs, words)
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    if scale and float((x * y).sum()) / scale >= SAME_COSINE_MIN:
        return Basis("same", 1.0)
    half = len(words) // 2
    if half < ours.columns:
        return None
    left, _, right = np.linalg.svd(x[:half].T @ y[:half])
    turn = left @ right
    rest = float(((y[half:] - x[half:] @ turn) ** 2).sum()) / float((y[half:] ** 2).sum() or 1)
    fit = 1 - rest
    if fit < FIT_MIN:
        return Basis("none", fit)
    largest = float(np.median(np.abs(turn).max(axis=1)))
    return Basis("permuted" if largest >= ONE_OF_MANY else "rotated", fit)


def _words(model: Model, table: Matrix, words: np.ndarray) -> np.ndarray:
    """Their embeddings about their mean, as long as they are: a map turns, it does not stretch."""
    found = read_rows(model, table, words).astype(np.float64)
    centred: np.ndarray = found - found.mean(axis=0)
    return centred
