"""How far a model is from another that lies on a grid, in the errors that rounding to it makes.

    rounding(coarse, other, layers) -> Rounding

What was rounded to the grid is one error away, by definition: a step over the square root of 12. A
relative of that is further, what was trained from the dequantized file is nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from headwater.lineage.grids import steps_of
from headwater.lineage.pair import matched
from headwater.lineage.probe import Probe
from headwater.lineage.roles import MATRICES

GRIDS_MIN = 0.5  # of the matrices: a head or an embedding, some layers are often left as they were


@dataclass(frozen=True, slots=True)
class Rounding:
    """`grids`: part of the layers' matrices that lie on one. `errors`: root mean square of the
    difference, in rounding errors; of a finer file than the grid's it is 1."""

    grids: float
    errors: float

    @property
    def on_grid(self) -> bool:
        return self.grids >= GRIDS_MIN


def on_grid(probe: Probe) -> float:
    """Part of the layers' matrices that lie on a grid."""
    rows = [(rows, probe.dtypes[role]) for role, rows in probe.rows.items()
            if role.kind in MATRICES]  # fmt: skip
    return sum(steps_of(*one) is not None for one in rows) / len(rows) if rows else 0.0


def rounding(coarse: Probe, other: Probe, layers: Sequence[int]) -> Rounding:
    """`layers`: of each layer of `other` the one of `coarse`, or -1."""
    found = seen = 0
    apart = error = 0.0
    for ours, theirs in matched(coarse, other, layers):
        if theirs.kind not in MATRICES:
            continue
        seen += 1
        rows = coarse.rows[ours]
        steps = steps_of(rows, coarse.dtypes[ours])
        if steps is not None:
            found += 1
            away = rows.astype(float) - other.rows[theirs]
            apart += float((away * away).sum())
            error += float((steps.astype(float) ** 2).sum()) / 12
    return Rounding(found / seen if seen else 0.0, sqrt(apart / error) if error else float("inf"))
