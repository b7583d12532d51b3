"""The file around a bundle's members: a tar that any tar reads, and of which we read only ours.

    header(path, size_bytes)     the 512 bytes before a member
    TarWriter(write)             members one after the other, then the end
    TarReader(file)              the same back; Malformed at the first byte that is not as expected

A member's name and size decide its header: POSIX ustar, type file, mode 0644, no owner, time 0; a
size from 8 GiB on is written in base 256, as GNU tar does. So a reader that knows what must come
compares 512 bytes, and links, sparse files, long names, members twice or in another order need no
rule of their own. Padding is zeros; the end is 1,024 zeros and nothing behind them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from headwater.errors import Malformed
from headwater.names import shown

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
PATH_CHARS_MAX = 100
PIECE_BYTES = 2**20
_OCTAL_MAX = 8**11  # what eleven octal digits hold
_SIZE = re.compile(rb"[0-7]{11}\0")


def header(path: str, size_bytes: int) -> bytes:
    """The block before a member of that name and size. `path`: ASCII, 1 to 100 characters."""
    name = path.encode("ascii")
    assert 0 < len(name) <= PATH_CHARS_MAX, "names of members are ours"
    size = b"%011o\0" % size_bytes
    if size_bytes >= _OCTAL_MAX:
        size = b"\x80" + size_bytes.to_bytes(11, "big")
    before = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size + b"00000000000\0"
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    block = (before + b" " * 8 + after).ljust(BLOCK_BYTES, b"\0")
    return before + b"%06o\0 " % sum(block) + block[len(before) + 8 :]


def padding(size_bytes: int) -> bytes:
    """The zeros behind a member."""
    return bytes(-size_bytes % BLOCK_BYTES)


def tar_bytes(sizes: Iterable[int]) -> int:
    """How long a tar of members of these sizes is."""
    return sum(BLOCK_BYTES + size + len(padding(size)) for size in sizes) + len(END)


class TarWriter:
    """Members in order. `write` takes bytes and appends them."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write

    def add(self, path: str, size_bytes: int, pieces: Iterable[bytes | memoryview]) -> None:
        """One member; `pieces` must come to `size_bytes`."""
        self._write(header(path, size_bytes))
        written = 0
        for piece in pieces:
            self._write(piece)
            written += len(piece)
        assert written == size_bytes, f"{path}: {written} bytes where {size_bytes} were said"
        self._write(padding(size_bytes))

    def end(self) -> None:
        self._write(END)


class TarReader:
    """Members in order, each by the name and size that it must have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def small(self, path: str, bytes_max: int) -> bytes:
        """The next member, whole; its size only its header tells."""
        block = self._take(BLOCK_BYTES, path)
        field = block[124:136]
        size = int(field[:11], 8) if _SIZE.fullmatch(field) else -1
        if size < 0 or block != header(path, size):
            raise Malformed(f"this is no bundle: {path} does not lie where it belongs")
        if size > bytes_max:
            raise Malformed(f"{path} has {size} bytes; at most {bytes_max} are read")
        body = self._take(size, path)
        self._pad(path, size)
        return body

    def member(self, path: str, size_bytes: int) -> Iterator[bytes]:
        """The next member in pieces; read it to its end before the next one."""
        block = self._take(BLOCK_BYTES, path)
        if block != header(path, size_bytes):
            name = block[:100].rstrip(b"\0").decode("utf-8", "replace")
            raise Malformed(f"{path} of {size_bytes} bytes belongs where {shown(name)} lies")
        left = size_bytes
        while left:
            piece = self._take(min(left, PIECE_BYTES), path)
            left -= len(piece)
            yield piece
        self._pad(path, size_bytes)

    def end(self) -> None:
        """Nothing comes any more."""
        if self._take(len(END), "its end") != END or self._file.read(1):
            raise Malformed("the bundle goes on behind its last member")

    def _pad(self, path: str, size_bytes: int) -> None:
        if any(self._take(len(padding(size_bytes)), path)):
            raise Malformed(f"the bundle has something between {path} and the next member")

    def _take(self, count: int, what: str) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise Malformed(f"the bundle ends inside {what}: it was cut short on its way")
        return data
