"""What the store's tests are made of: a store in a fresh folder, files cut into Xet chunks.

With HEADWATER_TEST_STORE=s3 every store of these tests has its containers in a bucket of a real
radosgw (see conftest). `files_of` and `at` then give objects with the few methods of Path that
tests use to look, and to do damage, behind the store's back.
"""

import fnmatch
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import effort
from headwater.formats.xet_hash import chunk_hash, file_hash, xorb_hash
from headwater.formats.xet_shard import Term
from headwater.formats.xorb import decode_chunk, encode_chunk, record_header
from headwater.names import Digest, XetHash
from headwater.store import Blob, Finding, Store, XorbIndex
from headwater.store.format import TOPS

IN_BUCKET = os.environ.get("HEADWATER_TEST_STORE") == "s3"
BUCKET = [""]  # set once radosgw runs


def new_url() -> str:
    """A place in the bucket where nothing is yet; empty when the stores are local."""
    return f"s3://{BUCKET[0]}/{secrets.token_hex(6)}" if IN_BUCKET else ""


@contextmanager
def fresh_store() -> Iterator[Store]:
    """An empty store in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield Store.open(Path(folder) / "store", new_url())


def again(store: Store, **more: Any) -> Store:
    """The same store as another process has it."""
    where = store._layout.shelf.where
    return Store.open(store.root, where if where.startswith("s3://") else "", **more)


def examples(count: int) -> int:
    """How many cases hypothesis tries; a request costs a thousand times a system call."""
    return max(effort.examples(count) // 7, 2) if IN_BUCKET else effort.examples(count)


def step(count: int) -> int:
    """Of many like cases every so manieth, in a bucket."""
    return count if IN_BUCKET else 1


@dataclass(frozen=True)
class InBucket:
    """A key, with what these tests need of a Path."""

    where: str
    key: str

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def suffix(self) -> str:
        return "." + self.name.rpartition(".")[2]

    @property
    def _bucket(self) -> Any:
        from headwater.store.bucket import open_bucket

        return open_bucket(self.where)

    def read_bytes(self) -> bytes:
        return bytes(self._bucket.get(self.key).bytes())

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes) -> None:
        self._bucket.put(self.key, data)

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def unlink(self) -> None:
        self._bucket.delete(self.key)

    def stat(self) -> SimpleNamespace:
        meta = self._bucket.head(self.key)
        return SimpleNamespace(st_size=meta["size"], st_ino=(meta["e_tag"], meta["last_modified"]))

    def exists(self) -> bool:
        return any(meta["path"] == self.key for page in self._bucket.list() for meta in page)


def at(store: Store, key: str) -> Any:
    """A key where it lies, as a Path or as what looks like one."""
    where = store._layout.shelf.where
    return InBucket(where, key) if where.startswith("s3://") else store.root / key


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


def files_of(store: Store, pattern: str = "**/*") -> list[Any]:
    """Files below the root and keys on the shelf, but not FORMAT and LOCK, nor what a bucket holds
    beside containers."""
    found = (path for path in store.root.glob(pattern) if path.is_file())
    files = sorted(path for path in found if path.parent != store.root)
    where = store._layout.shelf.where
    if not where.startswith("s3://"):
        return files
    listed = (meta["path"] for page in InBucket(where, "")._bucket.list() for meta in page)
    keys = (key for key in listed if key.partition("/")[0] in TOPS)
    glob = pattern.replace("**/", "*")
    return [*files, *(InBucket(where, key) for key in keys if fnmatch.fnmatch(key, glob))]


def findings(store: Store, data: bool = True) -> list[Finding]:
    return list(store.check(data))


def flip(path: Any, offset: int, mask: int = 1) -> None:
    """Damage one byte where it lies."""
    if isinstance(path, InBucket):
        data = bytearray(path.read_bytes())
        data[offset] ^= mask
        path.write_bytes(bytes(data))
        return
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def age(path: Any) -> None:
    """Make it look unused since 1970. The dates of a bucket are its own: there this does nothing,
    and tests that need it are `local_disk`, with others in test_object_shelf.py that wait."""
    if not isinstance(path, InBucket):
        os.utime(path, (1000, 1000))


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
