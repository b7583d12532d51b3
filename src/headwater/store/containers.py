"""Containers: one file that holds bytes, their checksums and the name they must have.

    body    plain: the bytes of the file; xorb: chunk records; chunked: nothing; packed: what is
            kept inline; tensor: its head and coded frames; virtual: the blobs its chunks are in
    index   plain: XXH3-64 of each frame; xorb: one row a chunk; chunked: one row a term;
            packed: one row a span; tensor: one row a frame; virtual: one row a chunk
    footer  128 bytes, the last of the file: see `Footer`

All integers are little-endian. docs/format.md shows every byte. Opening checks the footer's own
checksum and that the file has the length the footer says; the index has its checksum in the
footer; the body has its checksums in the index. So every byte of a container is under a checksum.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Self

import xxhash

from headwater.errors import Corrupt, Unavailable
from headwater.store.shelf import Shelf, Source

VERSION = 1
PIECE_BYTES = 2**20  # one pread, and the most that leaves a read at once
_FOOTER = struct.Struct("<8sII32s32sQQQQQ")  # then its own XXH3-64
FOOTER_BYTES = _FOOTER.size + 8

PLAIN = b"HWplain\n"
XORB = b"HWxorb\n\0"
CHUNKED = b"HWterms\n"
PACKED = b"HWpack\n\0"
TENSOR = b"HWtens\n\0"
VIRTUAL = b"HWvirt\n\0"
ROW_BYTES = {PLAIN: 8, XORB: 48, CHUNKED: 48, PACKED: 56, TENSOR: 24, VIRTUAL: 48}  # of the index


@dataclass(frozen=True, slots=True)
class Footer:
    """What a container says of itself."""

    kind: bytes  # one of the kinds above
    count: int  # rows of the index: frames, chunks, terms or spans
    name: bytes  # 32 bytes: SHA-256 (plain, chunked, packed), BLAKE3 (tensor), raw Xet hash (xorb)
    other: bytes  # 32 bytes: raw Xet hash of the file (chunked), else zeros
    body_bytes: int
    raw_bytes: int  # what the body, or the recipe, decodes to
    index_bytes: int
    index_sum: int  # XXH3-64 of the index

    @classmethod
    def of(
        cls,
        kind: bytes,
        index: bytes,
        name: bytes,
        *,
        other: bytes = bytes(32),
        body_bytes: int,
        raw_bytes: int,
    ) -> Self:
        """The footer that goes after `index`."""
        count = len(index) // ROW_BYTES[kind]
        sum_ = xxhash.xxh3_64_intdigest(index)
        return cls(kind, count, name, other, body_bytes, raw_bytes, len(index), sum_)

    def pack(self) -> bytes:
        """The 128 bytes, checksum included."""
        head = _FOOTER.pack(
            self.kind,
            VERSION,
            self.count,
            self.name,
            self.other,
            self.body_bytes,
            self.raw_bytes,
            self.index_bytes,
            self.index_sum,
            0,
        )
        return head + xxhash.xxh3_64_intdigest(head).to_bytes(8, "little")

    @classmethod
    def parse(cls, raw: bytes, kind: bytes, name: bytes, file_bytes: int) -> Self:
        """From the last 128 bytes of a file of `file_bytes`; Corrupt, with the reason, if wrong."""
        head, sum_ = raw[:-8], int.from_bytes(raw[-8:], "little")
        if xxhash.xxh3_64_intdigest(head) != sum_:
            raise Corrupt("its footer does not match its checksum")
        magic, version, count, its_name, other, body, decoded, index, index_sum, _ = _FOOTER.unpack(
            head
        )
        if magic != kind or version != VERSION:
            raise Corrupt(f"its footer is of kind {magic!r}, version {version}")
        if its_name != name:
            raise Corrupt("its footer names something else")
        if file_bytes != body + index + FOOTER_BYTES or index != count * ROW_BYTES[kind]:
            raise Corrupt(f"it has {file_bytes} bytes, which is not what its footer says")
        return cls(magic, count, its_name, other, body, decoded, index, index_sum)


class Container:
    """An open container whose footer was checked. Closed by `close`, or when forgotten.

    A container that is replaced or deleted while it is open can still be read to its end.
    """

    __slots__ = ("_source", "footer", "what")

    def __init__(self, source: Source, footer: Footer, what: str) -> None:
        self._source = source
        self.footer = footer
        self.what = what  # 'blob 12ab…' or 'xorb 12ab…', for messages

    @classmethod
    def open(cls, shelf: Shelf, key: str, kind: bytes, name: bytes, what: str) -> Self | None:
        """The container `key`, which must be of this kind and name. None when absent."""
        try:
            source = shelf.open(key)
        except OSError as error:
            raise Unavailable(f"{what}: {error.strerror}; try again") from error
        return None if source is None else cls.of(source, kind, name, what)

    @classmethod
    def of(cls, source: Source, kind: bytes, name: bytes, what: str) -> Self:
        """The container in an open source, which is closed if it is not that."""
        try:
            file_bytes = source.size_bytes
            if file_bytes < FOOTER_BYTES:
                raise Corrupt(f"it has only {file_bytes} bytes")
            raw = _read(source, FOOTER_BYTES, file_bytes - FOOTER_BYTES)
            return cls(source, Footer.parse(raw, kind, name, file_bytes), what)
        except BaseException as error:
            source.close()
            if isinstance(error, Corrupt):
                raise Corrupt(
                    f"{what} is damaged: {error.message}; run `headwater check`"
                ) from error
            raise

    def read(self, count: int, offset: int) -> bytes:
        """Exactly `count` bytes from `offset`, not yet verified."""
        try:
            return _read(self._source, count, offset)
        except Corrupt as error:
            raise self.corrupt(error.message) from error

    def index(self) -> bytes:
        """The whole index, verified."""
        data = self.read(self.footer.index_bytes, self.footer.body_bytes)
        if xxhash.xxh3_64_intdigest(data) != self.footer.index_sum:
            raise self.corrupt("its index does not match its checksum")
        return data

    def corrupt(self, problem: str) -> Corrupt:
        """An error that names this container."""
        return Corrupt(f"{self.what} is damaged: {problem}; run `headwater check`")

    def close(self) -> None:
        """Close the file. Harmless when closed already."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    __del__ = close


def _read(source: Source, count: int, offset: int) -> bytes:
    """`count` bytes; Corrupt when the file ends before them or the disk cannot give them."""
    try:
        data = source.pread(count, offset)
        while len(data) < count:
            more = source.pread(count - len(data), offset + len(data))
            if not more:
                raise Corrupt(f"it ends inside bytes {offset} to {offset + count}")
            data += more
        return data
    except OSError as error:
        if error.errno == errno.EIO:
            raise Corrupt(f"the disk cannot read bytes {offset} to {offset + count}") from error
        raise Unavailable(f"read failed: {error.strerror}; try again") from error
