"""The chunked layout: a file kept as its recipe, read out of the xorbs it names.

    Recipes.write     checks the file hash, decodes every byte for its SHA-256, then keeps it
    Recipes.read      verified and decoded, record by record, in pieces of at most 1 MiB
    Recipes.sound     a stored file whose every record on disk still matches its checksum

What is not checked here: that the caller may name those xorbs. That is the hub's to prove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from headwater.errors import BadRequest, Corrupt, DigestMismatch, NotFound
from headwater.formats.xet_hash import file_hash as hash_of_file
from headwater.formats.xet_shard import Term
from headwater.names import Digest, XetHash
from headwater.store.blob import Blob
from headwater.store.cache import Cache
from headwater.store.containers import CHUNKED, Container, Footer
from headwater.store.files import Temp, writing
from headwater.store.hashing import Sha256
from headwater.store.layout import Layout
from headwater.store.recipe import ChunkedFile, pack_terms
from headwater.store.xorb_index import XorbIndex
from headwater.store.xorbs import OpenXorb, Xorbs

RECIPE_CACHE_BYTES_MAX = 32 * 2**20  # some 600,000 terms

Progress = Callable[[int], None]  # called with how many bytes are hashed so far


class Recipes:
    """All chunked files of a store."""

    def __init__(self, layout: Layout, xorbs: Xorbs) -> None:
        self._layout = layout
        self._xorbs = xorbs
        self._cache: Cache[str, ChunkedFile] = Cache(RECIPE_CACHE_BYTES_MAX)

    def fresh(self) -> Recipes:
        """The same without anything cached."""
        return Recipes(self._layout, self._xorbs.fresh())

    def footer(self, oid: Digest) -> Footer | None:
        """The footer of a recipe; None when the blob is not chunked."""
        box = self._open(oid)
        if box is None:
            return None
        box.close()
        return box.footer

    def find(self, oid: Digest) -> ChunkedFile | None:
        """The recipe of a blob; None when it is not chunked."""
        box = self._open(oid)
        if box is None:
            return None
        with box:
            file = self._cache.get(oid)
            if (
                file is None
                or file.form != box.footer.index_sum
                or file.file_hash.raw != box.footer.other
            ):
                file = ChunkedFile.of(oid, box.footer, box.index())
                if file.size_bytes != box.footer.raw_bytes:
                    raise box.corrupt("its terms do not fit its size")
                self._cache.put(oid, file, file.memory_bytes)
            return file

    def read(self, file: ChunkedFile, start: int, stop: int) -> Iterator[bytes | memoryview]:
        """Bytes `start` to `stop` of the file, every record verified before it leaves."""
        what = f"blob {file.oid}"
        xorb: OpenXorb | None = None
        number = file.term_at(start) if start < stop else len(file)
        batch = 1024  # terms made at once; a recipe may have a million
        while start < stop:
            for term in file.terms_of(number, number + batch):
                if start >= stop:
                    break
                if xorb is None or xorb.index.hash != term.xorb:
                    xorb = self._xorbs.open(term.xorb)
                    if xorb is None:
                        raise Corrupt(f"{what} is damaged: its xorb {term.xorb} is missing")
                base = self._start_of(term, xorb.index, what)
                shift = base - (int(file.raw_ends[number]) - term.raw_bytes)
                end = min(stop, int(file.raw_ends[number]))
                yield from _slice(xorb, start + shift, end + shift)
                start = end
                number += 1

    def write(
        self,
        file_hash: XetHash,
        terms: Sequence[Term],
        oid: Digest | None,
        trusted: bool,
        progress: Progress | None,
    ) -> Blob:
        """Keep a recipe; see `Store.write_chunked`."""
        for name in dict.fromkeys(term.xorb for term in terms):
            self._touch(name)  # from here on gc leaves it alone for a whole grace time
        self._check_file_hash(file_hash, terms)
        stored = self._stored(oid) if oid is not None else None
        if oid is None or not (trusted and stored and stored.file_hash == file_hash):
            got = self._sha256(terms, progress)
            if oid is not None and got != oid:
                raise DigestMismatch(f"sha256 mismatch: got {got}, expected {oid}")
            oid = got
            stored = self._stored(oid)
        size_bytes = sum(term.raw_bytes for term in terms)
        if stored is not None and stored.file_hash != file_hash:
            # Cut into other chunks, the same file has another Xet hash. The first stays: clients
            # hold it, and no one may change how the files of others lie.
            kept = self.sound(oid)
            if kept is not None:
                return kept
        index = pack_terms(terms)
        footer = Footer.of(
            CHUNKED,
            index,
            bytes.fromhex(oid),
            other=file_hash.raw,
            body_bytes=0,
            raw_bytes=size_bytes,
        )
        with Temp(self._layout.tmp, ".chunked", f"blob {oid}") as temp:
            temp.write(index, footer.pack())
            temp.publish(self._layout.shelf, self._layout.chunked(oid))
        self._layout.drop_other(oid, "chunked")
        return Blob(oid, size_bytes, "chunked", file_hash)

    def sound(self, oid: Digest) -> Blob | None:
        """The blob, if it is chunked and its recipe and every record it needs match their
        checksums: on disk, not in a cache. Its grace time begins anew, as if written now."""
        with writing(f"blob {oid}"):
            if not self._layout.shelf.touch(self._layout.chunked(oid)):
                return None
        fresh = self.fresh()
        try:
            file = fresh.find(oid)
            if file is None:
                return None
            for xorb, term in fresh._runs(file.terms, f"blob {oid}"):
                for run in xorb.index.windows(term.start, term.stop):
                    xorb.records(*run)
        except Corrupt:
            return None
        return Blob(oid, file.size_bytes, "chunked", file.file_hash)

    def hash_of(self, terms: Sequence[Term]) -> XetHash:
        """The Xet file hash of these terms, from the indexes of their xorbs; BadRequest when a
        xorb is not stored or a term is not what it says."""
        hashes, lengths = [], []
        index: XorbIndex | None = None
        for term in terms:
            if index is None or index.hash != term.xorb:
                index = self._xorbs.index(term.xorb)
                if index is None:
                    raise BadRequest(f"xorb {term.xorb} is not stored; upload it first")
            if index.raw_range_bytes(term.start, term.stop) != term.raw_bytes:
                raise BadRequest(
                    f"chunks {term.start} to {term.stop} of xorb {term.xorb} are not "
                    f"{term.raw_bytes} bytes long"
                )
            hashes.append(index.chunk_hash_bytes(term.start, term.stop))
            lengths.append(index.raw_lengths[term.start : term.stop])
        return hash_of_file(b"".join(hashes), np.concatenate(lengths) if lengths else [])

    def _check_file_hash(self, file_hash: XetHash, terms: Sequence[Term]) -> None:
        got = self.hash_of(terms)
        if got != file_hash:
            raise DigestMismatch(f"Xet file hash mismatch: got {got}, expected {file_hash}")

    def _sha256(self, terms: Sequence[Term], progress: Progress | None) -> Digest:
        sha256, done_bytes = Sha256(), 0
        for xorb, term in self._runs(terms, "file"):
            for run in xorb.index.windows(term.start, term.stop):
                sha256.update(*xorb.chunks(*run))
            done_bytes += term.raw_bytes
            if progress is not None:
                progress(done_bytes)
        return sha256.digest()

    def _runs(self, terms: Sequence[Term], what: str) -> Iterator[tuple[OpenXorb, Term]]:
        """Each term with its xorb, open and checked against it; Corrupt when it does not fit."""
        xorb: OpenXorb | None = None
        for term in terms:
            if xorb is None or xorb.index.hash != term.xorb:
                xorb = self._xorbs.open(term.xorb)
                if xorb is None:
                    raise Corrupt(f"{what} is damaged: its xorb {term.xorb} is missing")
            self._start_of(term, xorb.index, what)
            yield xorb, term

    @staticmethod
    def _start_of(term: Term, index: XorbIndex, what: str) -> int:
        """Where a term begins in its decoded xorb."""
        try:
            first, last = index.raw_range(term.start, term.stop)
        except BadRequest:
            first = last = 0
        if last - first != term.raw_bytes:
            raise Corrupt(f"{what} is damaged: its term does not fit xorb {term.xorb}")
        return first

    def _stored(self, oid: Digest) -> ChunkedFile | None:
        """The recipe as stored before; a damaged one counts as none, it will be replaced."""
        try:
            return self.find(oid)
        except Corrupt:
            return None

    def _touch(self, name: XetHash) -> None:
        try:
            self._xorbs.touch(name)
        except NotFound:
            raise BadRequest(f"xorb {name} is not stored; upload it first") from None

    def _open(self, oid: Digest) -> Container | None:
        key, what = self._layout.chunked(oid), f"blob {oid}"
        return Container.open(self._layout.shelf, key, CHUNKED, bytes.fromhex(oid), what)


def _slice(xorb: OpenXorb, start: int, stop: int) -> Iterator[bytes | memoryview]:
    """Bytes `start` to `stop` of a decoded xorb, in pieces of at most 1 MiB."""
    index = xorb.index
    first = int(np.searchsorted(index.raw_ends, np.uint32(start), "right"))
    last = int(np.searchsorted(index.raw_ends, np.uint32(stop), "left")) + 1
    for run in index.windows(first, last):
        begin, end = index.raw_range(*run)
        chunks = xorb.chunks(*run)
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if begin >= start and end <= stop:
            yield whole
        else:
            yield memoryview(whole)[max(start - begin, 0) : min(stop, end) - begin]
