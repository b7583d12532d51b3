"""Two models number by number: how far apart, how much is unchanged, and where.

    compare(one, other, layers) -> Pair

`layers` says of each layer of the second model which of the first it is held against, -1 none (see
`likeness`). Everything is measured on the rows of the probes, and numbers are held equal after both
are cast to the coarser of the two types: what a cast took away is no change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from headwater.lineage.probe import Probe, cast
from headwater.lineage.roles import EMBED, HEAD, MATRICES, Role
from headwater.lineage.values import Floats


@dataclass(frozen=True, slots=True)
class Part:
    """What one kind of matrix, or several together, say. Sums over the numbers compared."""

    numbers: int = 0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    dd: float = 0.0  # of (y - x) squared
    equal: int = 0
    zeros_one: int = 0
    zeros_other: int = 0
    kept: int = 0  # equal, of those that are not zero in the other
    matrices: int = 0
    same: int = 0  # matrices all of whose compared numbers are equal

    def __add__(self, other: Part) -> Part:
        names = Part.__slots__
        return Part(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def cosine(self) -> float:
        scale = sqrt(self.xx * self.yy)
        return self.xy / scale if scale else 0.0

    @property
    def change(self) -> float:
        """Length of the difference, in lengths of the first."""
        return sqrt(self.dd / self.xx) if self.xx else 0.0

    @property
    def unchanged(self) -> float:
        """Part of the numbers that are equal."""
        return self.equal / self.numbers if self.numbers else 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Parts by kind. `rows` (one, other) of the table of words; `vectors` are norms and biases."""

    layers: tuple[int, ...]
    layers_one: int
    parts: dict[str, Part]
    vectors: Part
    rows: tuple[int, int]

    def of(self, *kinds: str) -> Part:
        """Some kinds together."""
        return sum((self.parts[kind] for kind in kinds if kind in self.parts), Part())

    @property
    def matrices(self) -> Part:
        """All of the layers."""
        return self.of(*MATRICES)

    @property
    def tables(self) -> Part:
        """Embedding and head."""
        return self.of(EMBED, HEAD)

    @property
    def all(self) -> Part:
        return self.matrices + self.tables


def compare(one: Probe, other: Probe, layers: Sequence[int]) -> Pair:
    """Of what both have in the same shape."""
    parts: dict[str, Part] = {}
    vectors = Part()
    for ours, theirs in matched(one, other, layers):
        x, y = one.rows[ours], other.rows[theirs]
        both = {one.dtypes[ours], other.dtypes[theirs]}
        if one.sizes[ours][1] == 1:
            vectors += part(x, y, both)
        else:
            parts[theirs.kind] = parts.get(theirs.kind, Part()) + part(x, y, both)
    words = tuple(probe.sizes.get(Role(-1, EMBED), (0, 0))[0] for probe in (one, other))
    return Pair(tuple(layers), one.layers, parts, vectors, (words[0], words[1]))


def part(x: Floats, y: Floats, dtypes: set[str]) -> Part:
    """What two matrices of one shape say."""
    a, b = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    equal = cast(x, dtypes).ravel() == cast(y, dtypes).ravel()
    there = b != 0
    return Part(
        numbers=a.size,
        xx=float(a @ a),
        yy=float(b @ b),
        xy=float(a @ b),
        dd=float((b - a) @ (b - a)),
        equal=int(equal.sum()),
        zeros_one=int((a == 0).sum()),
        zeros_other=int(a.size - there.sum()),
        kept=int((equal & there).sum()),
        matrices=1,
        same=int(equal.all()),
    )


def matched(one: Probe, other: Probe, layers: Sequence[int]) -> Iterator[tuple[Role, Role]]:
    """Roles of both that are held against each other."""
    for theirs, rows in other.rows.items():
        if theirs.layer >= 0:
            if theirs.layer >= len(layers) or layers[theirs.layer] < 0:
                continue
            ours = theirs._replace(layer=layers[theirs.layer])
        else:
            ours = theirs
        if ours in one.rows and one.rows[ours].shape == rows.shape:
            a, b = one.sizes[ours], other.sizes[theirs]
            # The same rows: of a table they are drawn below a power of two.
            tables = theirs.kind in (EMBED, HEAD) and a[1] == b[1]
            if a == b or (tables and a[0].bit_length() == b[0].bit_length()):
                yield ours, theirs
