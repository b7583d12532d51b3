"""Containers: one file that holds bytes, their checksums and the name they must have.

    body    plain: the bytes of the file; xorb: chunk records; chunked: nothing
    index   plain: XXH3-64 of each frame; xorb: one row a chunk; chunked: one row a term
    footer  128 bytes, the last of the file: see `Footer`

All integers are little-endian. docs/format.md shows every byte. Opening checks the footer's own
checksum and that the file has the length the footer says; the index has its checksum in the
footer; the body has its checksums in the index. So every byte of a container is under a checksum.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from typing import Self

import xxhash

from headwater.errors import Corrupt, Unavailable

VERSION = 1
PIECE_BYTES = 2**20  # one pread, and the most that leaves a read at once
_FOOTER = struct.Struct("<8sII32s32sQQQQQ")  # then its own XXH3-64
FOOTER_BYTES = _FOOTER.size + 8

PLAIN = b"HWplain\n"
XORB = b"HWxorb\n\0"
CHUNKED = b"HWterms\n"
ROW_BYTES = {PLAIN: 8, XORB: 48, CHUNKED: 48}  # of the index


@dataclass(frozen=True, slots=True)
class Footer:
    """What a container says of itself."""

    kind: bytes  # PLAIN, XORB or CHUNKED
    count: int  # rows of the index: frames, chunks or terms
    name: bytes  # 32 bytes: SHA-256 of the bytes (plain, chunked) or raw Xet hash (xorb)
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

    __slots__ = ("_fd", "footer", "what")

    def __init__(self, fd: int, footer: Footer, what: str) -> None:
        self._fd = fd
        self.footer = footer
        self.what = what  # 'blob 12ab…' or 'xorb 12ab…', for messages

    @classmethod
    def open(cls, path: str, kind: bytes, name: bytes, what: str) -> Self | None:
        """The container at `path`, which must be of this kind and name. None when absent."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{what}: {error.strerror}; try again") from error
        try:
            file_bytes = os.fstat(fd).st_size
            if file_bytes < FOOTER_BYTES:
                raise Corrupt(f"it has only {file_bytes} bytes")
            raw = _read(fd, FOOTER_BYTES, file_bytes - FOOTER_BYTES)
            return cls(fd, Footer.parse(raw, kind, name, file_bytes), what)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, Corrupt):
                raise Corrupt(
                    f"{what} is damaged: {error.message}; run `headwater check`"
                ) from error
            raise

    def read(self, count: int, offset: int) -> bytes:
        """Exactly `count` bytes from `offset`, not yet verified."""
        try:
            return _read(self._fd, count, offset)
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
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    __del__ = close


def _read(fd: int, count: int, offset: int) -> bytes:
    """`count` bytes; Corrupt when the file ends before them or the disk cannot give them."""
    try:
        data = os.pread(fd, count, offset)
        while len(data) < count:
            more = os.pread(fd, count - len(data), offset + len(data))
            if not more:
                raise Corrupt(f"it ends inside bytes {offset} to {offset + count}")
            data += more
        return data
    except OSError as error:
        if error.errno == errno.EIO:
            raise Corrupt(f"the disk cannot read bytes {offset} to {offset + count}") from error
        raise Unavailable(f"read failed: {error.strerror}; try again") from error
