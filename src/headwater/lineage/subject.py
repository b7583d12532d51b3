"""A model as it is compared: its tensors, its sketch, and the rows of it that were read.

Subject.of(files)     reads some megabytes, whatever the size of the files
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headwater.lineage.grids import levels_of
from headwater.lineage.model import File, Model
from headwater.lineage.probe import Probe, probe_of, significand
from headwater.lineage.roles import EMBED, MATRICES, Role
from headwater.lineage.rounding import GRIDS_MIN, on_grid
from headwater.lineage.sampling import read_rows
from headwater.lineage.sketch import Sketch, sketch_of

LAST_WORDS = 8
ALIKE_MAX = 0.2  # of the spread of trained words: rows that were added lie about their mean


@dataclass(frozen=True)
class Subject:
    """For comparing; nothing of it is stored but the sketch."""

    model: Model
    sketch: Sketch
    probe: Probe

    @classmethod
    def of(cls, files: Sequence[File]) -> Subject:
        """Whatever the files hold; of what is no model, a subject without layers."""
        model = Model.of(files)
        return cls(model, sketch_of(model), probe_of(model))

    @cached_property
    def quantized(self) -> bool:
        """Whether its matrices lie on grids."""
        return on_grid(self.probe) >= GRIDS_MIN

    @cached_property
    def last_words_alike(self) -> bool:
        """Whether its last words were never trained: all of them lie where the first one does."""
        table = self.model.matrices.get(Role(-1, EMBED))
        if table is None or not table.readable or table.rows <= 2 * LAST_WORDS:
            return False
        last = np.arange(table.rows - LAST_WORDS, table.rows, dtype=np.int64)
        spread = read_rows(self.model, table, last).std(axis=0).mean()
        usual = self.probe.rows[Role(-1, EMBED)].std(axis=0).mean()
        return bool(spread < ALIKE_MAX * usual)

    @property
    def bits(self) -> int:
        """Of significand that most matrices use."""
        found = [bits for role, bits in self.probe.bits.items() if role.kind in MATRICES]
        return int(np.median(found)) if found else 24

    @property
    def type_bits(self) -> int:
        """Of significand that the type of most matrices has."""
        found = [significand(self.probe.dtypes[role]) for role in self.probe.rows
                 if role.kind in MATRICES]  # fmt: skip
        return int(np.median(found)) if found else 24

    @cached_property
    def levels(self) -> float:
        """Mean number of values in a block of 32."""
        found = [levels_of(rows) for role, rows in self.probe.rows.items()
                 if role.kind in MATRICES and rows.size]  # fmt: skip
        return float(np.mean(found)) if found else 0.0
