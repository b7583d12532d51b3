"""How alike two models are by their sketches, and whether strangers could be.

    likeness(one, other) -> Likeness

Layers are matched by their numbers, so that a model with layers cut out or repeated still meets its
relative. Of strangers, numbers at the same places correlate by chance alone, 1/sqrt(n) wide: z is
how many such widths the matched layers and the embedding are above it, less what choosing the best
of so many layers may give. Nothing here says who came first, or how.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.lineage.roles import MATRICES
from headwater.lineage.sketch import SAMPLES, Sketch

Z_RELATED = 8.0  # strangers in a hub of a million models stay below 6
MATCH_MIN = 0.3  # of a layer: six widths of chance
_NUMBERS_MIN = 64

Table = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Likeness:
    """`layers`: of each layer of the second model the one of the first that it matches, or -1.
    `correlation` and `equal` over what matched and the embeddings; 0 when nothing did."""

    related: bool
    z: float
    correlation: float
    equal: float  # part of the numbers that are the same to eleven bits
    layers: tuple[int, ...]
    words: float  # correlation of how words lie to each other; NaN when there are none to compare


def likeness(one: Sketch, other: Sketch) -> Likeness:
    """What the sketches of two models say of each other."""
    matched = _matched(one, other)
    pairs = [(one.samples[i].ravel(), other.samples[j].ravel()) for j, i in matched.items()]
    if len(one.embed) and len(one.embed) == len(other.embed):
        pairs.append((one.embed, other.embed))
    ours, theirs = (np.concatenate([pair[side] for pair in pairs] or [[]]) for side in (0, 1))
    sound = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[sound], theirs[sound]
    r = _correlation(ours, theirs)
    # The best of so many pairs of layers reaches sqrt(2 ln n) by chance; each layer may have it.
    luck = sqrt(2 * log(max(one.layers * other.layers, 1))) * sqrt(max(len(matched), 1))
    z = r * sqrt(len(ours)) - luck
    equal = float((ours == theirs).mean()) if len(ours) else 0.0
    found = tuple(matched.get(j, -1) for j in range(other.layers))
    return Likeness(z >= Z_RELATED, z, r, equal, found, _words(one, other))


def _matched(one: Sketch, other: Sketch) -> dict[int, int]:
    """Layers of `other`, each to the most like layer of `one`, where it is like at all."""
    alike = {kind for kind, *_ in set(one.signature) & set(other.signature)}
    if not alike:
        return {}
    kept = np.repeat([kind in alike for kind in MATRICES], SAMPLES)
    a, b = (s.samples.reshape(s.layers, -1)[:, kept].astype(np.float64) for s in (one, other))
    a, b = _unit(a), _unit(b)
    table = a @ b.T
    best = table.argmax(axis=0)
    return {j: int(i) for j, i in enumerate(best) if table[i, j] >= MATCH_MIN}


def _unit(rows: Table) -> Table:
    """Each row with mean 0 and length 1; what is no number counts as the mean."""
    rows = rows - np.nanmean(np.where(np.isfinite(rows), rows, 0), axis=1, keepdims=True)
    rows = np.nan_to_num(rows)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Table = rows / np.where(lengths > 0, lengths, 1)
    return unit


def _correlation(a: Table, b: Table) -> float:
    if len(a) < _NUMBERS_MIN:
        return 0.0
    x, y = _unit(a[None].astype(np.float64)), _unit(b[None].astype(np.float64))
    return float((x @ y.T)[0, 0])


def _words(one: Sketch, other: Sketch) -> float:
    if not len(one.gram) or len(one.gram) != len(other.gram):
        return float("nan")
    return _correlation(one.gram, other.gram)
