"""Models as points: how a model lies to several others at once.

    Cloud.of(target, others)      of those that have the target's shapes
    cloud.squares()               |target - other| squared, of each
    cloud.between(i, j)           |other i - other j| squared
    cloud.along(i, j)             how far the target lies beyond i, seen from j, in steps of j to i
    cloud.mixture(subset)         the mean of these, weighted, that comes nearest to the target

Everything follows from the inner products of the differences to the target, matrix by matrix, so a
model is read once and not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from headwater.lineage.probe import Probe
from headwater.lineage.roles import EMBED, HEAD, MATRICES

_TINY = 1e-7  # of a number: what arithmetic in float32 leaves behind
Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mixture:
    """`errors`: root mean square of what is left, in errors of rounding the target to its type. 1
    when it is that mixture. `weights` are means over the matrices; they add up to 1."""

    errors: float
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cloud:
    """`products` (matrices, models, models): of the differences to the target."""

    names: tuple[str, ...]
    products: Table
    rounding: float  # sum over the numbers of the squared error of storing the target

    @classmethod
    def of(cls, target: Probe, others: Mapping[str, Probe]) -> Cloud:
        """Those of `others` that have every matrix of the target in its size."""
        keys = [role for role in target.rows if role.kind in (*MATRICES, EMBED, HEAD)]
        names = tuple(
            name
            for name, probe in others.items()
            if probe.layers == target.layers
            and all(probe.sizes.get(role) == target.sizes[role] for role in keys)
        )
        products = np.zeros((len(keys), len(names), len(names)))
        rounding = 0.0
        for at, role in enumerate(keys):
            rows = target.rows[role].astype(np.float64).ravel()
            apart = np.array([others[name].rows[role].ravel() - rows for name in names])
            products[at] = apart @ apart.T if len(names) else 0.0
            _, exponents = np.frexp(rows)
            steps = np.ldexp(1.0, exponents - target.bits[role])
            rounding += float(np.maximum(steps**2 / 12, (_TINY * rows) ** 2).sum())
        return cls(names, products, rounding)

    def squares(self) -> Table:
        """Of the distance of each to the target."""
        found: Table = np.diag(self._sum).copy()
        return found

    def between(self, i: int, j: int) -> float:
        """Squared distance of two of the others."""
        g = self._sum
        return float(g[i, i] + g[j, j] - 2 * g[i, j])

    def along(self, i: int, j: int) -> float:
        """0: the target went on from i in a direction of its own; -1: i turned off on its way to
        the target; 1: the target is as far beyond i as i is from j."""
        step = self.between(i, j)
        g = self._sum
        # <t - i, i - j>, with e = other - t: -<e_i, e_i - e_j>
        return float(-(g[i, i] - g[i, j]) / step) if step > 0 else 0.0

    def mixture(self, subset: Sequence[int]) -> Mixture:
        """Weights are found for each matrix by itself: a spherical mean has other ones in each."""
        part = self.products[np.ix_(range(len(self.products)), subset, subset)]
        scale = np.maximum(np.trace(part, axis1=1, axis2=2), 1e-30)[:, None, None]
        ones = np.ones((len(part), len(subset), 1))
        # The least |sum of w e| with weights that add up to 1 (a Lagrange multiplier).
        solved = np.linalg.solve(part / scale + 1e-12 * np.eye(len(subset)), ones)[..., 0]
        total = solved.sum(axis=1, keepdims=True)
        weights = solved / total
        left = np.einsum("mi,mij,mj->m", weights, part, weights).clip(0)
        told = np.average(weights, axis=0, weights=scale[:, 0, 0])
        return Mixture(sqrt(float(left.sum()) / self.rounding), tuple(float(w) for w in told))

    @property
    def _sum(self) -> Table:
        total: Table = self.products.sum(axis=0)
        return total
