"""The recipe of a chunked file: its terms, each a run of chunks of one stored xorb.

Rows of 48 bytes: 32 xorb hash (raw), u32 raw bytes, u32 first chunk, u32 one past the last chunk,
u32 zero. A recipe is kept as one table; a `Term` is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from headwater.formats.xet_shard import Term
from headwater.names import Digest, XetHash
from headwater.store.containers import CHUNKED, ROW_BYTES, Footer

ROW = np.dtype(
    [("xorb", "V32"), ("raw_bytes", "<u4"), ("start", "<u4"), ("stop", "<u4"), ("zero", "<u4")]
)
assert ROW.itemsize == ROW_BYTES[CHUNKED]


def pack_terms(terms: Sequence[Term]) -> bytes:
    """The index of a chunked container."""
    rows = [(term.xorb.raw, term.raw_bytes, term.start, term.stop, 0) for term in terms]
    return np.array(rows, ROW).tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedFile:
    """One file that lies as runs of chunks in xorbs."""

    oid: Digest
    file_hash: XetHash
    form: int  # names this choice of terms
    table: npt.NDArray[np.void] = field(repr=False)
    raw_ends: npt.NDArray[np.int64] = field(repr=False)  # where each term ends in the file

    @classmethod
    def of(cls, oid: Digest, footer: Footer, rows: bytes) -> Self:
        """From the verified index of a container and its footer."""
        table = np.frombuffer(rows, ROW)
        ends = np.cumsum(table["raw_bytes"], dtype=np.int64)
        return cls(oid, XetHash.of_raw(footer.other), footer.index_sum, table, ends)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def size_bytes(self) -> int:
        return int(self.raw_ends[-1]) if len(self.raw_ends) else 0

    @property
    def memory_bytes(self) -> int:
        """What keeping this recipe costs."""
        return 700 + (ROW.itemsize + 8) * len(self)

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, in order. Built at every call."""
        return self.terms_of(0, len(self))

    def terms_of(self, first: int, last: int) -> tuple[Term, ...]:
        """Terms `first` to `last`, exclusive, in order."""
        rows = self.table[first:last]
        raws = rows["xorb"].tolist()
        names = {raw: XetHash.of_raw(raw) for raw in set(raws)}
        columns = (rows[name].tolist() for name in ("raw_bytes", "start", "stop"))
        return tuple(
            Term(names[raw], *numbers) for raw, *numbers in zip(raws, *columns, strict=True)
        )

    def xorbs(self) -> set[XetHash]:
        """Every xorb that the file needs."""
        return {XetHash.of_raw(raw) for raw in set(self.table["xorb"].tolist())}

    def term_at(self, position: int) -> int:
        """The number of the term that holds byte `position` of the file."""
        return int(np.searchsorted(self.raw_ends, position, "right"))
