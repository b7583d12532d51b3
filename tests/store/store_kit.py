"""What the store's tests are made of: a store in a fresh folder, files cut into Xet chunks."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from headwater.formats.xet_hash import chunk_hash, file_hash, xorb_hash
from headwater.formats.xet_shard import Term
from headwater.formats.xorb import decode_chunk, encode_chunk, record_header
from headwater.names import Digest, XetHash
from headwater.store import Blob, Finding, Store, XorbIndex


@contextmanager
def fresh_store() -> Iterator[Store]:
    """An empty store in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield Store.open(Path(folder) / "store")


def digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def put(store: Store, data: bytes, piece_bytes: int = 65_536) -> Blob:
    """Keep `data` in the plain layout."""
    with store.write_plain() as writer:
        for at in range(0, len(data), piece_bytes):
            writer.write(data[at : at + piece_bytes])
        return writer.finish(digest(data), len(data))


def get(store: Store, oid: Digest, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join(store.read(oid, start, stop))


def files_of(store: Store, pattern: str = "**/*") -> list[Path]:
    """Files below the root, but not FORMAT and LOCK."""
    found = (path for path in store.root.glob(pattern) if path.is_file())
    return sorted(path for path in found if path.parent != store.root)


def findings(store: Store, data: bool = True) -> list[Finding]:
    return list(store.check(data))


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Damage one byte where it lies."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def stored_as_is(chunk: bytes) -> bytes:
    """A record of scheme 0."""
    return record_header(len(chunk), 0, len(chunk)) + chunk


@dataclass(frozen=True)
class MadeXorb:
    """A xorb as a client would send it."""

    chunks: tuple[bytes, ...]
    records: tuple[bytes, ...]

    @classmethod
    def of(cls, chunks: Sequence[bytes], *, compressed: bool = True) -> "MadeXorb":
        encode = encode_chunk if compressed else stored_as_is
        return cls(tuple(chunks), tuple(map(encode, chunks)))

    @property
    def hash(self) -> XetHash:
        return xorb_hash([chunk_hash(chunk) for chunk in self.chunks], self.lengths)

    @property
    def lengths(self) -> list[int]:
        return [len(chunk) for chunk in self.chunks]

    @property
    def body(self) -> bytes:
        return b"".join(self.records)

    @property
    def borders(self) -> list[int]:
        return [0, *accumulate(map(len, self.records))]

    def term(self, start: int, stop: int) -> Term:
        return Term(self.hash, sum(self.lengths[start:stop]), start, stop)


def put_xorb(store: Store, xorb: MadeXorb, piece_bytes: int = 10_000) -> XorbIndex:
    with store.write_xorb(xorb.hash) as writer:
        for at in range(0, len(xorb.body), piece_bytes):
            writer.write(xorb.body[at : at + piece_bytes])
        return writer.finish()


@dataclass(frozen=True)
class MadeFile:
    """A file as runs of chunks of xorbs."""

    runs: tuple[tuple[MadeXorb, int, int], ...]

    @property
    def chunks(self) -> list[bytes]:
        return [chunk for xorb, start, stop in self.runs for chunk in xorb.chunks[start:stop]]

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def oid(self) -> Digest:
        return digest(self.data)

    @property
    def hash(self) -> XetHash:
        return file_hash([chunk_hash(chunk) for chunk in self.chunks], list(map(len, self.chunks)))

    @property
    def terms(self) -> list[Term]:
        return [xorb.term(start, stop) for xorb, start, stop in self.runs]


def put_file(store: Store, file: MadeFile) -> Blob:
    """Keep the file's xorbs, then its recipe."""
    for xorb in {xorb.hash: xorb for xorb, _, _ in file.runs}.values():
        put_xorb(store, xorb)
    return store.write_chunked(file.hash, file.terms, oid=file.oid)


def decoded(records: bytes) -> bytes:
    """The raw bytes of serialized records."""
    raw, at = b"", 0
    while at < len(records):
        header = int.from_bytes(records[at : at + 8], "little")
        end = at + 8 + (header >> 8 & 0xFFFFFF)
        raw += decode_chunk(header >> 32 & 0xFF, records[at + 8 : end], header >> 40)
        at = end
    return raw
