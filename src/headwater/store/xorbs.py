"""Xorbs: chunk records as uploaded, each under its own checksum.

    XorbWriter      parses, decodes and hashes while it writes; one record in memory
    Xorbs.open      an open xorb: verified records, decoded chunks
    Xorbs.index     where its chunks are, from a cache that asks the file's footer first

A xorb that is here and whole keeps its serialization: byte ranges of it are out there in the
hands of clients, who check nothing but lengths. Only a damaged one gives way to another form, and
one whose chunks were packed: it is virtual from then on, and its stored form fades (`virtual`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Self

import numpy as np
import xxhash

from headwater.errors import (
    BadRequest,
    Corrupt,
    DigestMismatch,
    Malformed,
    NotFound,
    Stale,
    Unavailable,
)
from headwater.formats.xet_hash import chunk_hash, xorb_hash
from headwater.formats.xorb import HEADER_BYTES, SCHEME_NONE, RecordParser, decode_chunk
from headwater.names import XetHash
from headwater.store.cache import Cache
from headwater.store.containers import PIECE_BYTES, XORB, Container, Footer
from headwater.store.files import Buffer, Temp, writing
from headwater.store.layout import Layout
from headwater.store.solid import Solid
from headwater.store.virtual import VirtualXorb, open_virtual
from headwater.store.xorb_index import ROW, XorbIndex

INDEX_CACHE_BYTES_MAX = 64 * 2**20  # about 1.2 million chunks, the indexes of 80 GB of xorbs


class StoredXorb:
    """One stored xorb, open: what was opened stays readable even if it is replaced."""

    __slots__ = ("_box", "index")

    def __init__(self, box: Container, index: XorbIndex) -> None:
        self._box = box
        self.index = index

    def close(self) -> None:
        self._box.close()

    def records(self, start: int, stop: int) -> tuple[bytes, list[int]]:
        """Records of chunks `start` to `stop`, each verified, and where each ends in them."""
        first, last = self.index.byte_range(start, stop)
        data = self._box.read(last - first, first)
        view = memoryview(data)
        ends: list[int] = (self.index.ends[start:stop] - np.uint32(first)).tolist()
        at = 0
        for end, sum_ in zip(ends, self.index.checksums[start:stop].tolist(), strict=True):
            if xxhash.xxh3_64_intdigest(view[at:end]) != sum_:
                raise self.corrupt(f"bytes {first + at} to {first + end} fail their checksum")
            at = end
        return data, ends

    def chunks(self, start: int, stop: int) -> list[bytes | memoryview]:
        """Raw bytes of chunks `start` to `stop`, from verified records."""
        data, ends = self.records(start, stop)
        view = memoryview(data)
        chunks: list[bytes | memoryview] = []
        at = 0
        for end in ends:
            header = int.from_bytes(view[at : at + HEADER_BYTES], "little")
            payload, scheme = view[at + HEADER_BYTES : end], header >> 32 & 0xFF
            try:
                chunks.append(
                    payload
                    if scheme == SCHEME_NONE
                    else decode_chunk(scheme, payload, header >> 40)
                )
            except Malformed as error:
                raise self.corrupt(error.message) from error
            at = end
        return chunks

    def corrupt(self, problem: str) -> Corrupt:
        """An error that names this xorb."""
        return self._box.corrupt(problem)


OpenXorb = StoredXorb | VirtualXorb


class Xorbs:
    """All xorbs of a store; those that are virtual are read out of `solid` blobs."""

    def __init__(self, layout: Layout, solid: Solid) -> None:
        self._layout = layout
        self._solid = solid
        self._cache: Cache[str, XorbIndex] = Cache(INDEX_CACHE_BYTES_MAX)

    def fresh(self) -> Xorbs:
        """The same without anything cached."""
        return Xorbs(self._layout, self._solid.fresh())

    def open(self, name: XetHash, form: int | None = None) -> OpenXorb | None:
        """The xorb, its footer and index verified; None when absent. While a virtual one still has
        its stored form, `form` says which is meant."""
        virtual = open_virtual(self._layout, name, self._solid)
        if virtual is None:
            return self.stored(name)
        if form is not None and form != virtual.index.form:
            stored = self.stored(name)
            if stored is not None and stored.index.form == form:
                virtual.close()
                return stored
        return virtual

    def stored(self, name: XetHash) -> StoredXorb | None:
        """The xorb as it was uploaded; None when it is absent, or virtual and its form faded."""
        key, what = self._layout.xorb(name), f"xorb {name}"
        box = Container.open(self._layout.shelf, key, XORB, name.raw, what)
        if box is None:
            return None
        index = self._cache.get(name)
        # The footer was read just now: an index of another serialization is noticed by its sum.
        if index is None or index.form != box.footer.index_sum:
            index = XorbIndex.of(name, box.footer.index_sum, box.index())
            problem = contradiction(index, box.footer)
            if problem:
                raise box.corrupt(problem)
            self._cache.put(name, index, index.memory_bytes)
        return StoredXorb(box, index)

    def index(self, name: XetHash) -> XorbIndex | None:
        """Where the chunks of a stored xorb are; None when it is absent."""
        found = self.open(name)
        if found is None:
            return None
        found.close()
        return found.index

    def read(
        self, name: XetHash, start_byte: int, stop_byte: int, form: int | None = None
    ) -> Iterator[bytes]:
        """Verified records from `start_byte` to `stop_byte`, in pieces of at most 1 MiB.

        Both must be borders of records (BadRequest). `form` is that of the index from which they
        were taken: Stale when the xorb now lies in another.
        """
        found = self.open(name, form)
        if found is None:
            raise NotFound(f"xorb {name} is not stored")
        ends = found.index.ends
        if form is not None and form != found.index.form:
            raise Stale(f"xorb {name} was stored again in another form; ask for its ranges again")
        if not 0 <= start_byte < stop_byte <= found.index.stored_bytes:
            raise BadRequest(f"bytes {start_byte} to {stop_byte} are not in xorb {name}")
        stop = int(np.searchsorted(ends, np.uint32(stop_byte), "left"))
        start = int(np.searchsorted(ends, np.uint32(start_byte), "left")) + 1 if start_byte else 0
        if found.index.byte_range(start, stop + 1) != (start_byte, stop_byte):
            raise BadRequest(f"bytes {start_byte} to {stop_byte} of xorb {name} cut a chunk")
        return (found.records(*run)[0] for run in found.index.windows(start, stop + 1))

    def touch(self, name: XetHash) -> None:
        """Begin the xorb's grace time anew. NotFound when it is not stored."""
        with writing(f"xorb {name}"):
            here = self._layout.shelf.touch(self._layout.xorb(name))
            if not (self._layout.shelf.touch(self._layout.virtual(name)) or here):
                raise NotFound(f"xorb {name} is not stored")

    def delete(self, name: XetHash, unless_used_since_s: float | None) -> bool:
        """Delete a xorb; not, and False, if it was written or touched since that Unix time."""
        keys = [self._layout.xorb(name), self._layout.virtual(name)]
        with writing(f"xorb {name}"):
            return self._layout.shelf.delete(keys, unless_used_since_s)

    def fade(self, name: XetHash, older_than_s: float) -> bool:
        """Give back the stored form of a xorb that has been virtual since that Unix time, and still
        is sound: else the stored form may be the last that is right."""
        try:
            virtual = open_virtual(self._layout, name, self._solid.fresh())
            if virtual is None:
                return False
            with closing(virtual):
                if virtual.made_s >= older_than_s:
                    return False
                for run in virtual.index.windows(0, len(virtual.index)):
                    virtual.chunks(*run)
        except Corrupt:
            return False
        here = self._layout
        with writing(f"xorb {name}"):
            here.shelf.drop(here.xorb(name), here.virtual(name))
        return True

    def drop_rotten(self, name: XetHash) -> None:
        """Give back the stored form of a xorb whose virtual one was just found sound, if it is
        damaged: it would have faded, and an upload is to heal whatever `check` complains of."""
        try:
            stored = self.stored(name)
            if stored is None:
                return
            with closing(stored):
                for run in stored.index.windows(0, len(stored.index)):
                    stored.records(*run)
        except Corrupt:
            here = self._layout
            with suppress(Unavailable), writing(f"xorb {name}"):  # what came is safe without it
                here.shelf.drop(here.xorb(name), here.virtual(name))


def contradiction(index: XorbIndex, footer: Footer) -> str | None:
    """What is wrong between a verified index and a verified footer: only a bug can write it."""
    rising = len(index) > 0 and bool(np.all(np.diff(index.ends.astype(np.int64), prepend=0) > 0))
    if not rising or index.stored_bytes != footer.body_bytes:
        return "its index does not fit its body"
    if index.raw_bytes != footer.raw_bytes or not index.raw_lengths.all():
        return "its index does not fit its size"
    return None


class XorbWriter:
    """One xorb on its way in. Use it in a `with`: it is dropped unless finished."""

    def __init__(self, layout: Layout, xorbs: Xorbs, name: XetHash) -> None:
        self._layout = layout
        self._xorbs = xorbs
        self._name = name
        self._parser = RecordParser()
        self._rows: list[tuple[bytes, int, int, int]] = []
        self._temp = Temp(layout.tmp, ".xorb", "xorb")

    def write(self, data: Buffer) -> None:
        """The next serialized bytes, in pieces of any size. Malformed, NoSpace or Unavailable;
        after any of them the writer is of no more use."""
        view = memoryview(data).cast("B")
        try:
            for at in range(0, len(view), PIECE_BYTES):
                self._take(view[at : at + PIECE_BYTES])
        except BaseException:
            self.abort()
            raise

    def _take(self, view: memoryview) -> None:
        end = self._temp.size_bytes
        records = self._parser.feed(view)
        for record in records:
            chunk = record.payload if record.scheme == SCHEME_NONE else record.decode()
            end += len(record.record)
            sum_ = xxhash.xxh3_64_intdigest(record.record)
            self._rows.append((chunk_hash(chunk), end, len(chunk), sum_))
        if records:
            self._temp.write(b"".join([record.record for record in records]))

    def finish(self) -> XorbIndex:
        """Durable when it returns. Malformed when a record is cut, DigestMismatch when the chunks
        are not those of the promised name; then nothing is kept."""
        with self._temp as temp:
            self._parser.finish()
            rows = np.array(self._rows, ROW)
            got = xorb_hash(rows["hash"].tobytes(), rows["raw_bytes"])
            if got != self._name:
                raise DigestMismatch(f"xorb hash mismatch: got {got}, expected {self._name}")
            table = rows.tobytes()
            footer = Footer.of(
                XORB,
                table,
                got.raw,
                body_bytes=temp.size_bytes,
                raw_bytes=int(rows["raw_bytes"].sum(dtype=np.uint64)),
            )
            kept = self._kept_form(footer.index_sum)
            if kept is not None:
                self._xorbs.touch(got)
                return kept
            temp.write(table, footer.pack())
            temp.publish(self._layout.shelf, self._layout.xorb(got))
            here = self._layout  # a virtual one was damaged, or it had been kept
            with writing(f"xorb {got}"):
                here.shelf.drop(here.virtual(got), here.xorb(got))
            return XorbIndex.of(got, footer.index_sum, table)

    def _kept_form(self, form: int) -> XorbIndex | None:
        """The xorb as stored before, if it lies in another form and every byte of it is sound:
        on disk, not in a cache."""
        try:
            stored = self._xorbs.fresh().open(self._name)
            if stored is None or stored.index.form == form:
                return None
            for run in stored.index.windows(0, len(stored.index)):
                stored.records(*run)
        except Corrupt:
            return None  # rot is healed by what came now
        if isinstance(stored, VirtualXorb):
            self._xorbs.fresh().drop_rotten(self._name)
        return stored.index

    def abort(self) -> None:
        """Drop what was written. Harmless after `finish`."""
        self._temp.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
