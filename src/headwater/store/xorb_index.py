"""The index of a xorb: for each chunk its hash, where it ends, its length, its checksum.

Rows of 48 bytes: 32 chunk hash (raw), u32 end of its record in the body, u32 raw bytes,
u64 XXH3-64 of the record (header and payload). In memory the columns lie apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from headwater.errors import BadRequest
from headwater.names import XetHash
from headwater.store.containers import PIECE_BYTES, ROW_BYTES, XORB

ROW = np.dtype([("hash", "V32"), ("end", "<u4"), ("raw_bytes", "<u4"), ("sum", "<u8")])
assert ROW.itemsize == ROW_BYTES[XORB]

U32s = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class XorbIndex:
    """Where the chunks of one stored xorb are. Chunks are counted from 0; ranges exclude `stop`."""

    hash: XetHash
    form: int  # names this serialization: the same chunks compressed otherwise have another
    hash_bytes: bytes = field(repr=False)  # 32 bytes a chunk, end to end
    ends: U32s = field(repr=False)  # where each record ends in the body
    raw_lengths: U32s = field(repr=False)
    raw_ends: U32s = field(repr=False)  # where each chunk ends in the decoded xorb
    checksums: npt.NDArray[np.uint64] = field(repr=False)  # XXH3-64 of each record

    @classmethod
    def of(cls, hash: XetHash, form: int, rows: bytes) -> Self:
        """From the verified index of a container."""
        table = np.frombuffer(rows, ROW)
        raw_lengths = np.ascontiguousarray(table["raw_bytes"], np.uint32)
        return cls(
            hash,
            form,
            table["hash"].tobytes(),
            np.ascontiguousarray(table["end"], np.uint32),
            raw_lengths,
            np.cumsum(raw_lengths, dtype=np.uint32),
            np.ascontiguousarray(table["sum"], np.uint64),
        )

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def hashes(self) -> list[bytes]:
        """The 32-byte hash of each chunk. Built at every call."""
        return [self.hash_bytes[at : at + 32] for at in range(0, len(self.hash_bytes), 32)]

    @property
    def stored_bytes(self) -> int:
        """Length of the serialized records."""
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def raw_bytes(self) -> int:
        """Length of the decoded chunks."""
        return int(self.raw_ends[-1]) if len(self.raw_ends) else 0

    @property
    def memory_bytes(self) -> int:
        """What keeping this index costs."""
        return 500 + 52 * len(self)

    def byte_range(self, start: int, stop: int) -> tuple[int, int]:
        """First byte and one past the last of the records of chunks `start` to `stop`."""
        self._check_run(start, stop)
        return (int(self.ends[start - 1]) if start else 0), int(self.ends[stop - 1])

    def raw_range(self, start: int, stop: int) -> tuple[int, int]:
        """The same for the decoded chunks."""
        self._check_run(start, stop)
        return (int(self.raw_ends[start - 1]) if start else 0), int(self.raw_ends[stop - 1])

    def raw_range_bytes(self, start: int, stop: int) -> int:
        """How many bytes chunks `start` to `stop` decode to."""
        first, last = self.raw_range(start, stop)
        return last - first

    def chunk_hash_bytes(self, start: int, stop: int) -> bytes:
        """The hashes of chunks `start` to `stop`, end to end."""
        self._check_run(start, stop)
        return self.hash_bytes[32 * start : 32 * stop]

    def windows(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Chunks `start` to `stop` in runs of at most 1 MiB, stored as well as decoded."""
        while start < stop:
            stored = (int(self.ends[start - 1]) if start else 0) + PIECE_BYTES
            decoded = (int(self.raw_ends[start - 1]) if start else 0) + PIECE_BYTES
            last = min(
                int(np.searchsorted(self.ends, np.uint32(stored), "right")),
                int(np.searchsorted(self.raw_ends, np.uint32(decoded), "right")),
                stop,
            )
            yield start, max(last, start + 1)
            start = max(last, start + 1)

    def _check_run(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= len(self):
            raise BadRequest(
                f"chunks {start} to {stop} are no run in xorb {self.hash} of {len(self)} chunks"
            )
