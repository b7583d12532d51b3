"""Virtual xorbs: the index of a xorb whose chunks are read back out of packed files.

    VirtualXorb            serves records and chunks as a stored xorb does, in a form of its own
    make_virtual(…)        writes one, if every chunk is in one of the given files
    FADE_S                 how long the stored xorb stays beside it

Rows of 48 bytes: 32 chunk hash (raw), u32 raw bytes, u32 which source, u64 offset in it; the body
is the SHA-256 of each source, its XXH3-64 the first 8 bytes of the footer's `other`, the time it
was made (u64, Unix milliseconds) the next 8. Records are served uncompressed, so that their places
follow from the lengths alone. Every chunk is hashed before it leaves.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import xxhash

from headwater.errors import Corrupt
from headwater.formats.xet_hash import chunk_hash
from headwater.formats.xet_shard import Term
from headwater.formats.xorb import HEADER_BYTES, SCHEME_NONE, record_header
from headwater.names import Digest, XetHash
from headwater.store.containers import ROW_BYTES, VIRTUAL, Container, Footer
from headwater.store.files import Temp, writing
from headwater.store.layout import Layout
from headwater.store.local_shelf import open_file
from headwater.store.solid import Solid
from headwater.store.xorb_index import XorbIndex

FADE_S = 3600.0  # clients hold signed addresses of the stored form for some minutes

ROW = np.dtype([("hash", "V32"), ("raw_bytes", "<u4"), ("source", "<u4"), ("offset", "<u8")])
assert ROW.itemsize == ROW_BYTES[VIRTUAL]
_NONE = 2**32 - 1


class VirtualXorb:
    """One virtual xorb, open. The same methods as a stored one."""

    __slots__ = ("_box", "_rows", "_solid", "_sources", "index", "made_s")

    def __init__(self, box: Container, name: XetHash, solid: Solid) -> None:
        self._box, self._solid = box, solid
        rows = np.frombuffer(box.index(), ROW)
        body = box.read(box.footer.body_bytes, 0)
        sum_, made_ms = struct.unpack("<QQ", box.footer.other[:16])
        if xxhash.xxh3_64_intdigest(body) != sum_ or len(body) % 32:
            raise box.corrupt("its list of sources does not match its checksum")
        self._sources = [Digest(body[at : at + 32].hex()) for at in range(0, len(body), 32)]
        if not len(rows) or int(rows["source"].max()) >= len(self._sources):
            raise box.corrupt("its index does not fit its sources")
        self._rows = rows
        self.made_s = made_ms / 1000
        raw_lengths = np.ascontiguousarray(rows["raw_bytes"], np.uint32)
        self.index = XorbIndex(
            name,
            box.footer.index_sum,
            rows["hash"].tobytes(),
            np.cumsum(raw_lengths + np.uint32(HEADER_BYTES), dtype=np.uint32),
            raw_lengths,
            np.cumsum(raw_lengths, dtype=np.uint32),
            np.zeros(0, np.uint64),
        )
        if self.index.raw_bytes != box.footer.raw_bytes or not raw_lengths.all():
            raise box.corrupt("its index does not fit its size")

    @property
    def sources(self) -> list[Digest]:
        """The blobs that its chunks are in."""
        return list(self._sources)

    def close(self) -> None:
        self._box.close()

    def records(self, start: int, stop: int) -> tuple[bytes, list[int]]:
        """Records of chunks `start` to `stop`, each verified, and where each ends in them."""
        pieces: list[bytes | memoryview] = []
        ends, at = [], 0
        for chunk in self.chunks(start, stop):
            pieces += (record_header(len(chunk), SCHEME_NONE, len(chunk)), chunk)
            at += HEADER_BYTES + len(chunk)
            ends.append(at)
        return b"".join(pieces), ends

    def chunks(self, start: int, stop: int) -> list[bytes | memoryview]:
        """Raw bytes of chunks `start` to `stop`, each hashed just now."""
        chunks: list[bytes | memoryview] = []
        for first, last in self._runs(start, stop):
            begin = int(self._rows["offset"][first])
            lengths = self.index.raw_lengths[first:last].tolist()
            source = self._sources[int(self._rows["source"][first])]
            pieces = self._solid.read(source, begin, begin + sum(lengths))
            if pieces is None:
                raise self.corrupt(f"its source, blob {source}, is missing")
            raw, at = memoryview(b"".join(pieces)), 0
            for number, length in enumerate(lengths, first):
                chunk = raw[at : at + length]
                if chunk_hash(chunk) != self.index.chunk_hash_bytes(number, number + 1):
                    raise self.corrupt(f"its chunk {number} is not in blob {source} as it says")
                chunks.append(chunk)
                at += length
        return chunks

    def corrupt(self, problem: str) -> Corrupt:
        """An error that names this xorb."""
        return self._box.corrupt(problem)

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Chunks `start` to `stop` in runs that lie end to end in one source."""
        rows = self._rows[start:stop]
        ends = rows["offset"] + rows["raw_bytes"]
        breaks = (rows["offset"][1:] != ends[:-1]) | (rows["source"][1:] != rows["source"][:-1])
        borders = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(rows)]
        for first, last in pairwise(borders):
            yield start + first, start + last


def open_virtual(layout: Layout, name: XetHash, solid: Solid) -> VirtualXorb | None:
    """The virtual xorb of that name; None when there is none."""
    box = Container.open(layout.shelf, layout.virtual(name), VIRTUAL, name.raw, f"xorb {name}")
    if box is None:
        return None
    try:
        return VirtualXorb(box, name, solid)
    except BaseException:
        box.close()
        raise


def make_virtual(
    layout: Layout, index: XorbIndex, files: Mapping[Digest, Sequence[Term]], solid: Solid
) -> bool:
    """Write the virtual form of a stored xorb; False when a chunk is in none of `files` (each with
    all its terms, in order). Durable when it returns; who calls holds the pack lock."""
    rows = np.zeros(len(index), ROW)
    rows["hash"] = np.frombuffer(index.hash_bytes, "V32")
    rows["raw_bytes"] = index.raw_lengths
    rows["source"] = _NONE
    used = _place(rows, index, files)
    if (rows["source"] == _NONE).any():
        return False
    for oid in used:  # from here on gc keeps them, whatever happens to their names
        with Temp(layout.tmp, ".held", f"blob {oid}") as temp:
            temp.publish_new(layout.shelf, layout.held(oid))
        with writing(f"blob {oid}"):
            if not layout.shelf.touch(layout.packed(oid)):
                return False
    body = b"".join(bytes.fromhex(oid) for oid in used)
    table = rows.tobytes()
    other = struct.pack("<QQ16x", xxhash.xxh3_64_intdigest(body), int(time.time() * 1000))
    footer = Footer.of(
        VIRTUAL,
        table,
        index.hash.raw,
        other=other,
        body_bytes=len(body),
        raw_bytes=index.raw_bytes,
    )
    what = f"xorb {index.hash}"
    with Temp(layout.tmp, ".virtual", what) as temp, writing(what):
        temp.write(body, table, footer.pack())
        made = VirtualXorb(
            Container.of(open_file(temp.path), VIRTUAL, index.hash.raw, what), index.hash, solid
        )
        for run in made.index.windows(0, len(made.index)):
            made.chunks(*run)  # raises Corrupt rather than replace what is right
        made.close()
        temp.publish(layout.shelf, layout.virtual(index.hash))
    return True


def _place(
    rows: npt.NDArray[np.void], index: XorbIndex, files: Mapping[Digest, Sequence[Term]]
) -> list[Digest]:
    """Fill in where each chunk is; the sources that were needed, in the order of their numbers."""
    used: list[Digest] = []
    starts = index.raw_ends.astype(np.int64) - index.raw_lengths
    for oid, terms in files.items():
        at = 0
        for term in terms:
            if term.xorb == index.hash:
                run = slice(term.start, term.stop)
                free = rows["source"][run] == _NONE
                if free.any():
                    if not used or used[-1] != oid:
                        used.append(oid)
                    offsets = starts[run] - starts[term.start] + at
                    rows["offset"][run] = np.where(free, offsets, rows["offset"][run])
                    rows["source"][run] = np.where(free, len(used) - 1, rows["source"][run])
            at += term.raw_bytes
    return used
