"""Packing: a stored file taken apart into tensors, each in its smallest form, and proven.

    Packer.pack(oid, bases)    encode, decode again, compare the SHA-256, switch, drop the old bytes
    Packer.repack(…)           the same for a packed file whose tensors may find a better base

The old bytes go last: a crash at any step leaves the file readable, and garbage for gc at most.
Whoever packs holds the store's pack lock together with others; who deletes or re-encodes tensors
holds it alone. So nothing that a running pack relies on disappears, and no chain of parents can
become a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from blake3 import blake3

from headwater.codec.cut import cuts
from headwater.errors import Corrupt, NotFound, Unavailable
from headwater.formats.span import Span
from headwater.formats.spans import spans
from headwater.names import Digest, TensorId
from headwater.store.choose import Bases
from headwater.store.files import need_space, writing
from headwater.store.hashing import Sha256
from headwater.store.layout import Layout
from headwater.store.locks import lock_of
from headwater.store.packed import INLINE_BYTES_MAX, Packed, PackedWriter
from headwater.store.sketch import Sketcher
from headwater.store.tensor_writer import Plan, Source, write_tensor
from headwater.store.tensors import Tensors

TENSOR_BYTES_MIN = 4 * 2**10  # a smaller one costs more as a file than it could save
REST_GAIN_MIN = 0.05  # a file without tensors stays as it is unless this much of it is saved
PACK_LOCK = "PACK"
LOCK_WAIT_S = 60.0  # then the job comes again later

Read = Callable[[Digest, int, int], Iterator[bytes | memoryview]]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Packing:
    """What packing one file came to."""

    oid: Digest
    raw_bytes: int
    stored_bytes: int  # what this file added to the store
    shared_bytes: int  # raw bytes that were here already


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the file on its way in: a tensor, or inline."""

    start: int
    stop: int
    span: Span | None


class Packer:
    """Packs files of one store. `read` gives the bytes of a blob, in whatever layout."""

    def __init__(self, layout: Layout, tensors: Tensors, packed: Packed, read: Read) -> None:
        self._layout = layout
        self._tensors = tensors
        self._packed = packed
        self._read = read

    def pack(
        self,
        oid: Digest,
        size_bytes: int,
        bases: Sequence[Digest],
        progress: Progress | None = None,
        *,
        again: bool = False,
        small: bool = False,
    ) -> Packing | None:
        """Pack the blob; None when nothing would be gained and it stays as it is. `again`: tensors
        that are kept are coded anew against `bases` where that is smaller. `small`: in the smallest
        forms, whatever they cost to read."""
        need_space(self._layout.tmp, size_bytes)
        with lock_of(self._layout.root, PACK_LOCK, shared=not again, wait_s=LOCK_WAIT_S):
            return self._pack(oid, size_bytes, bases, progress, again, small)

    def _pack(
        self,
        oid: Digest,
        size_bytes: int,
        bases: Sequence[Digest],
        progress: Progress | None,
        again: bool,
        small: bool,
    ) -> Packing | None:
        found = spans(self._bytes(oid), size_bytes)
        pieces = list(_pieces(found, size_bytes) if found else self._rest(oid, size_bytes))
        known = Bases(self._tensors, self._packed, bases, self._read)
        stored = shared = 0
        with closing(known), PackedWriter(self._layout, oid) as writer:
            for piece in pieces:
                if piece.span is None:
                    for start in range(piece.start, piece.stop, INLINE_BYTES_MAX):
                        stop = min(start + INLINE_BYTES_MAX, piece.stop)
                        writer.add_inline(memoryview(b"".join(self._read(oid, start, stop))))
                else:
                    name, added = self._keep(oid, piece.span, known, again, small)
                    stored += added
                    shared += 0 if added else piece.stop - piece.start
                    writer.add_tensor(name, piece.stop - piece.start)
                if progress is not None:
                    progress(piece.stop)
            stored += writer.close()
            if not found and stored + shared > (1 - REST_GAIN_MIN) * size_bytes and not shared:
                return None  # its tensors, named by nothing, go with the next gc
            self._prove(oid, writer)
            self._settle(oid, writer)
            writer.publish()
        self.drop_old(oid)
        return Packing(oid, size_bytes, stored, shared)

    def _keep(
        self, oid: Digest, span: Span, bases: Bases, again: bool, small: bool
    ) -> tuple[TensorId, int]:
        """The tensor of a span, kept; its name and the bytes that it added."""

        def read(start: int, stop: int) -> Iterator[bytes | memoryview]:
            return self._read(oid, span.start + start, span.start + stop)

        source = Source(span.dtype, span.shape, span.stop - span.start, read)
        hasher, sketcher = blake3(), Sketcher(source.raw_bytes, source.element)
        for piece in read(0, source.raw_bytes):
            hasher.update(piece)
            sketcher.feed(piece)
        name, sketch = TensorId(hasher.hexdigest()), bytes(sketcher.values)
        with suppress(NotFound):
            self._tensors.touch(name)  # from here on gc leaves it alone for a whole grace time
            if not again:
                return name, 0
        plan = bases.plan(span, source, sketch, name)
        return name, self._write(source, name, plan, sketch, again, small)

    def _write(
        self,
        source: Source,
        name: TensorId,
        plan: Plan | None,
        sketch: bytes,
        again: bool,
        small: bool,
    ) -> int:
        old = self._tensors.open(name) if again else None
        if old is None:
            return write_tensor(
                self._layout, self._tensors, source, name, plan, sketch, small=small
            )
        before, head = old.stored_bytes, old.head
        old.close()
        for parent in map(TensorId, head.parents):  # someone may be reading by way of it still
            with suppress(NotFound):
                self._tensors.touch(parent)
        if plan is None and head.prediction is not None:
            plan = Plan(head.prediction, tuple(map(TensorId, head.parents)))
        against = (plan.parents, plan.prediction) if plan is not None else ((), None)
        if (head.parents, head.prediction) == against and (head.small or not small):
            return 0
        args = (self._layout, self._tensors, source, name, plan, sketch)
        taken = write_tensor(*args, small=small or head.small, replace=True, below_bytes=before)
        return min(taken - before, 0)

    def _prove(self, oid: Digest, writer: PackedWriter) -> None:
        """Read the packed file as anyone will, before the old bytes go."""
        file = writer.reopen()
        fresh = Packed(self._layout, Tensors(self._layout))
        try:
            got = _sha256(fresh.read(file, 0, file.size_bytes))
        except Corrupt:
            self._heal(oid, writer)
            got = _sha256(fresh.read(file, 0, file.size_bytes))
        finally:
            file.box.close()
        if got != oid:
            raise Corrupt(f"blob {oid} did not come out of packing as it went in; left as it is")

    def _settle(self, oid: Digest, writer: PackedWriter) -> None:
        """A tensor that was here already may have been put here a moment ago, by someone who has
        not synced its folder yet; and so may those that it is coded against."""
        file = writer.reopen()
        with file.box:
            names = self._tensors.ancestors(list(file.tensors()))
        with writing(f"blob {oid}"):
            self._layout.shelf.settle(map(self._layout.tensor, names))

    def _heal(self, oid: Digest, writer: PackedWriter) -> None:
        """A tensor that was here already is damaged, and its bytes are at hand: write it again."""
        file = writer.reopen()
        with file.box:
            for span in file.spans():
                if span.tensor is None or Tensors(self._layout).problem(span.tensor) is None:
                    continue
                at, stop = span.start, span.stop

                def read(a: int, b: int, at: int = at) -> Iterator[bytes | memoryview]:
                    return self._read(oid, at + a, at + b)

                source = Source("U8", (stop - at,), stop - at, read)
                write_tensor(self._layout, self._tensors, source, span.tensor, replace=True)

    def drop_old(self, oid: Digest) -> None:
        """The packed form is proven. A recipe of chunks stays: it is the file's Xet name."""
        with suppress(OSError, Unavailable):  # both are right; `check` names what is left over
            self._layout.shelf.drop(self._layout.plain(oid), self._layout.packed(oid))

    def _bytes(self, oid: Digest) -> Callable[[int, int], bytes]:
        return lambda start, stop: b"".join(self._read(oid, start, stop))

    def _rest(self, oid: Digest, size_bytes: int) -> Iterator[_Piece]:
        """A file that is no weights: chunks cut where its content says."""
        start = 0
        for stop in cuts(self._bytes(oid), 0, size_bytes):
            span = Span("", "U8", (stop - start,), start, stop)
            yield _Piece(start, stop, span if stop - start >= TENSOR_BYTES_MIN else None)
            start = stop


def _pieces(found: Sequence[Span], size_bytes: int) -> Iterator[_Piece]:
    """The whole file: large tensors, and what lies between them together."""
    at = 0
    for span in found:
        if span.stop - span.start >= TENSOR_BYTES_MIN:
            if span.start > at:
                yield _Piece(at, span.start, None)
            yield _Piece(span.start, span.stop, span)
            at = span.stop
    if at < size_bytes:
        yield _Piece(at, size_bytes, None)


def _sha256(pieces: Iterator[bytes | memoryview]) -> Digest:
    sha256 = Sha256()
    for piece in pieces:
        sha256.update(piece)
    return sha256.digest()
