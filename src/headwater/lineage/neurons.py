"""Whether two models have the same neurons in another order or in another basis.

    neurons(one, other) -> Neurons | None      None when they cannot be held against each other

What a neuron of an MLP answers to a word's embedding does not change when the residual stream is
permuted or rotated, the norms are folded into the matrices, or the neurons change places. So each
neuron of the one is matched to that of the other whose gate answers some words most alike, and
separately by its `up`: strangers' two matches seldom agree. (A cousin of
the test of Zhu et al., arXiv:2502.12292, on weights alone.) Both must have the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log

import numpy as np

from headwater.lineage.model import Matrix, Model
from headwater.lineage.probe import rows_of
from headwater.lineage.roles import EMBED, Role
from headwater.lineage.sampling import read_rows
from headwater.lineage.values import Floats

LOG10_P_MAX = -8.0  # of a pair of models whose neurons are the same
# Strangers trained on one text reach that, too: their neurons answer alike to one word. So two
# more, with room on both sides: of kin some 99 % pair up and answer alike at .99; of strangers 5 %;
# of two with the same first weights 30 %, at .4.
AGREED_MIN = 0.2
ALIKE_MIN = 0.75
ASKED = 384  # neurons of the one
ASKED_MIN = 24  # of them that answer anything
ANSWERS = 128  # words
ANSWERS_MIN = 64
LAYERS = 2  # that are looked at
INNER_MAX = 65_536  # neurons of the other, all of which are read: some 3 GB of the largest models
_CHUNK_NUMBERS = 2**22  # read at once: 16 MB
LENGTH_MIN = 1e-12  # of an answer; of a neuron that was pruned it is nothing but rounding
_LN10 = log(10)


@dataclass(frozen=True, slots=True)
class Neurons:
    """Of the layer that agrees best: `agreed` of `asked` neurons are matched alike by gate and up,
    `chance` would be by luck. `alike`: mean correlation of what those answer. `moved`: part of them
    that stand elsewhere. `log10_p`: over all layers that were tried."""

    layer: int
    asked: int
    agreed: int
    chance: float
    alike: float
    moved: float
    log10_p: float

    @property
    def same(self) -> bool:
        enough = self.agreed >= AGREED_MIN * self.asked and self.alike >= ALIKE_MIN
        return enough and self.log10_p <= LOG10_P_MAX


def neurons(one: Model, other: Model) -> Neurons | None:
    """The best of some layers. Both need an embedding of the same words and a gated MLP."""
    tables = [model.matrices.get(Role(-1, EMBED)) for model in (one, other)]
    ours, theirs = tables
    if not ours or not theirs or not ours.readable or not theirs.readable:
        return None
    words = rows_of(ours, ANSWERS * ours.columns)
    if len(words) < ANSWERS_MIN or not np.array_equal(
        words, rows_of(theirs, ANSWERS * theirs.columns)
    ):
        return None
    embedded = [read_rows(model, table, words) for model, table in ((one, ours), (other, theirs))]
    count = min(one.layers, other.layers)
    tried = [layer for layer in sorted({0, count // 2})[:LAYERS] if count]
    found = [
        made
        for layer in tried
        if (made := _layer(one, other, embedded, layer, len(tried))) is not None
    ]
    return min(found, key=lambda made: made.log10_p, default=None)


def _layer(
    one: Model, other: Model, embedded: list[Floats], layer: int, tried: int
) -> Neurons | None:
    answers, speak = [], []
    asked: np.ndarray | None = None
    for kind in ("gate", "up"):
        pair = [model.matrices.get(Role(layer, kind)) for model in (one, other)]
        ours, theirs = pair
        if not ours or not theirs or not ours.readable or not theirs.readable:
            return None
        if theirs.rows > INNER_MAX or ours.columns != embedded[0].shape[1]:
            return None
        if theirs.columns != embedded[1].shape[1]:
            return None
        if asked is None:
            asked = rows_of(ours, ASKED * ours.columns)[:ASKED]
        every = np.arange(theirs.rows, dtype=np.int64)
        mine = _answers(one, ours, layer, asked, embedded[0])
        yours = _answers(other, theirs, layer, every, embedded[1])
        answers.append(mine @ yours.T)
        speak.append((mine.any(axis=1), yours.any(axis=1)))
    assert asked is not None
    # A pruned neuron answers nothing, and would match the first one in both ways.
    alive, heard = speak[0][0] & speak[1][0], speak[0][1] & speak[1][1]
    if alive.sum() < ASKED_MIN or heard.sum() < ASKED_MIN:
        return None
    answers = [np.where(heard, table[alive], -1.0) for table in answers]
    asked = asked[alive]
    by_gate, by_up = (table.argmax(axis=1) for table in answers)
    agreed = by_gate == by_up
    hits, width = int(agreed.sum()), answers[0].shape[1]
    # Some neurons answer to everything and are everybody's match: chance counts them.
    taken = [np.bincount(best, minlength=width) for best in (by_gate, by_up)]
    chance = float(taken[0] @ taken[1]) / len(asked)
    if hits:
        at = np.flatnonzero(agreed), by_gate[agreed]
        alike = float(np.mean([table[at].mean() for table in answers]))
        moved = float((by_gate[agreed] != asked[agreed]).mean())
    else:
        alike = moved = 0.0
    p = min(_log10_poisson(hits, max(chance, 1.0)) + np.log10(tried), 0.0)
    return Neurons(layer, len(asked), hits, chance, alike, moved, float(p))


def _answers(
    model: Model, matrix: Matrix, layer: int, rows: np.ndarray, embedded: Floats
) -> Floats:
    """(neurons, words), each row with mean 0 and length 1."""
    norm = model.matrices.get(Role(layer, "norm2"))
    scale = np.ones(matrix.columns, np.float32)
    if norm is not None and norm.readable and norm.rows == matrix.columns and norm.columns == 1:
        scale = read_rows(model, norm, np.arange(norm.rows, dtype=np.int64)).ravel()
    scaled = (embedded * scale).T
    step = max(_CHUNK_NUMBERS // matrix.columns, 1)
    parts = [read_rows(model, matrix, rows[at : at + step]) @ scaled
             for at in range(0, len(rows), step)]  # fmt: skip
    made: Floats = np.concatenate(parts)
    made -= made.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    made[~(lengths > LENGTH_MIN).ravel()] = 0
    made /= np.where(lengths > LENGTH_MIN, lengths, 1)
    return made


def _log10_poisson(hits: int, mean: float) -> float:
    """log10 of the chance of so many or more events, where `mean` are usual."""
    if hits <= mean or mean <= 0:
        return 0.0 if hits <= mean else -np.inf
    first = hits * log(mean) - mean - lgamma(hits + 1)
    # The terms fall faster than a geometric series of ratio mean / (hits + 1).
    return float((first - log(1 - mean / (hits + 1))) / _LN10)
