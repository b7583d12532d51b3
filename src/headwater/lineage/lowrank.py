"""Whether what changed between two models is of low rank, as a merged adapter leaves it.

    low_rank(one, other, layers) -> Rank | None

A merged LoRA of rank r adds to each matrix one of rank r, and then the sum is rounded to the type
it is stored in. So of the singular values of the difference only those count that stand above the
edge that rounding noise reaches: s (sqrt n + sqrt m) for errors of size s (Marchenko and Pastur).
Energy alone does not tell: that of ordinary training lies in few directions, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from headwater.lineage.model import Matrix, Model
from headwater.lineage.probe import rounded, rows_of, used_bits
from headwater.lineage.roles import MATRICES, Role
from headwater.lineage.sampling import read_rows
from headwater.lineage.values import Floats

MATRICES_MAX = 4  # that are looked at
ROWS_MAX = 512  # an adapter of rank 128 is a quarter of that
COLUMNS_MAX = 1_024
SHARE_MAX = 0.25  # of all singular values; of full training nearly all are above the edge
ENERGY_MIN = 0.85  # of the difference, in those above it
_EDGE = 1.1  # the edge is a limit for large matrices; small ones reach somewhat over it


@dataclass(frozen=True, slots=True)
class Rank:
    """`rank`: median number of singular values above the edge, of `size`. `energy`: their part."""

    rank: int
    size: int
    energy: float

    @property
    def low(self) -> bool:
        return 0 < self.rank <= SHARE_MAX * self.size and self.energy >= ENERGY_MIN


def low_rank(one: Model, other: Model, layers: Sequence[int]) -> Rank | None:
    """Of some matrices that changed, the usual one; None when none did."""
    found: list[tuple[int, int, float]] = []
    for ours, theirs in _changed(one, other, layers):
        delta, noise = _delta(one, other, ours, theirs)
        values = np.linalg.svd(delta.astype(np.float64), compute_uv=False)
        total = float((values**2).sum())
        if total == 0:
            continue
        edge = _EDGE * noise * (sqrt(delta.shape[0]) + sqrt(delta.shape[1]))
        above = values > edge
        found.append((int(above.sum()), len(values), float((values[above] ** 2).sum()) / total))
        if len(found) == MATRICES_MAX:
            break
    if not found:
        return None
    rank, size, energy = (float(np.median([row[n] for row in found])) for n in range(3))
    return Rank(round(rank), round(size), energy)


def _changed(one: Model, other: Model, layers: Sequence[int]) -> list[tuple[Matrix, Matrix]]:
    """Matrices of both, those of the middle layers first: the outer ones are the odd ones."""
    middle = len(layers) // 2
    pairs = []
    for layer in sorted(range(len(layers)), key=lambda n: abs(n - middle)):
        for kind in MATRICES:
            theirs = other.matrices.get(Role(layer, kind))
            ours = one.matrices.get(Role(layers[layer], kind)) if layers[layer] >= 0 else None
            if ours and theirs and ours.readable and theirs.readable and (
                (ours.rows, ours.columns) == (theirs.rows, theirs.columns)
            ):  # fmt: skip
                pairs.append((ours, theirs))
    return pairs


def _delta(one: Model, other: Model, ours: Matrix, theirs: Matrix) -> tuple[Floats, float]:
    """The difference of some rows, and how large the errors of rounding in it are."""
    rows = rows_of(theirs, ROWS_MAX * theirs.columns)
    x, y = (
        read_rows(model, matrix, rows, COLUMNS_MAX)
        for model, matrix in ((one, ours), (other, theirs))
    )
    bits = min(used_bits(x, ours.span.dtype), used_bits(y, theirs.span.dtype))
    x, y = rounded(x, bits), rounded(y, bits)
    _, exponents = np.frexp(y)
    ulps = np.ldexp(1.0, exponents - bits)
    return y - x, sqrt(float(np.mean(ulps**2)) / 12)
