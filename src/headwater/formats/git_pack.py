"""Git packs: objects end to end, some as differences from others.

    PackFile(file, start, size_max)   reads one from a file; every step is bounded
    pack.entries()                    what is said of each object, and its bytes
    apply_delta(base, delta, max)     the object that a difference makes
    entry_head(kind, size), pack_head(count)   for writing one

Format: gitformat-pack(5), version 2. A pack comes from strangers: what an entry says of its size
is believed only as a limit, no stream is inflated past it, and each piece of file is read once.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from headwater.errors import Malformed, TooLarge

KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_NUMBERS = {kind: number for number, kind in KINDS.items()}
_OFS_DELTA, _REF_DELTA = 6, 7
TRAILER_BYTES = 20
_HEAD = struct.Struct(">4sII")
_WINDOW_BYTES = 256 * 2**10
_SLICE_BYTES = 32 * 2**10  # given to zlib at once: what it does not need it copies
_VARINT_BYTES_MAX = 9


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as it lies in a pack. `base` of a difference: where its base lies in this pack,
    or the base's id; `kind` is then None."""

    offset: int
    data_at: int
    size_bytes: int
    kind: str | None
    base: int | str | None = None


class PackFile:
    """A pack that begins at `start` of a file and ends with it."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._fd = file.fileno()
        self._start = start
        self._end = os.fstat(self._fd).st_size - TRAILER_BYTES
        self._window = b""
        self._window_at = 0
        head = self._read(start, _HEAD.size)
        if len(head) < _HEAD.size or self._end < start + _HEAD.size:
            raise Malformed("the pack is cut short")
        magic, version, self.count = _HEAD.unpack(head)
        if magic != b"PACK" or version not in (2, 3):
            raise Malformed("what was sent is not a pack of version 2")

    def check_sum(self) -> None:
        """Malformed unless the SHA-1 at the end is that of everything before it."""
        sha, at = hashlib.sha1(usedforsecurity=False), self._start
        while at < self._end:
            piece = os.pread(self._fd, min(2**20, self._end - at), at)
            if not piece:
                break
            sha.update(piece)
            at += len(piece)
        if os.pread(self._fd, TRAILER_BYTES, self._end) != sha.digest():
            raise Malformed("the pack's checksum does not match: it was damaged or cut on its way")

    def entries(self) -> Iterator[tuple[Entry, Inflater]]:
        """Each object in order. The inflater must be read to its end before the next is asked."""
        at = self._start + _HEAD.size
        for _ in range(self.count):
            entry = self.entry(at)
            inflater = Inflater(self, entry)
            yield entry, inflater
            at = inflater.end
        if at != self._end:
            raise Malformed("the pack has bytes behind its last object")

    def entry(self, offset: int) -> Entry:
        """What is said of the object at `offset`."""
        head = self._read(offset, 48)
        at = 0
        byte = _byte(head, at)
        number, size, shift = byte >> 4 & 7, byte & 15, 4
        while byte & 0x80:
            at += 1
            byte = _byte(head, at)
            if at > _VARINT_BYTES_MAX:
                raise Malformed("the size of a packed object is out of range")
            size |= (byte & 0x7F) << shift
            shift += 7
        at += 1
        if number in KINDS:
            return Entry(offset, offset + at, size, KINDS[number])
        if number == _REF_DELTA:
            if len(head) < at + 20:
                raise Malformed("the pack is cut short")
            return Entry(offset, offset + at + 20, size, None, head[at : at + 20].hex())
        if number != _OFS_DELTA:
            raise Malformed(f"a packed object has the unknown type {number}")
        back, at = _back(head, at)
        if not 0 < back <= offset - self._start - _HEAD.size:
            raise Malformed("the base of a packed difference lies outside the pack")
        return Entry(offset, offset + at, size, None, offset - back)

    def _read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only where the objects end."""
        size = max(0, min(size, self._end - at))
        begin = at - self._window_at
        if begin < 0 or begin + size > len(self._window):
            wanted = min(max(size, _WINDOW_BYTES), self._end - at)
            self._window, self._window_at = os.pread(self._fd, max(wanted, 0), at), at
            begin = 0
        return self._window[begin : begin + size]

    def raw(self, entry: Entry, end: int) -> bytes:
        """The compressed bytes of an object, as they came."""
        return os.pread(self._fd, end - entry.data_at, entry.data_at)


class Inflater:
    """The bytes of one entry, inflated to exactly the size that it states."""

    def __init__(self, pack: PackFile, entry: Entry) -> None:
        self._pack = pack
        self._entry = entry
        self.end = entry.data_at  # where the compressed bytes end, once all was read

    def pieces(self) -> Iterator[bytes]:
        engine = zlib.decompressobj()
        at, left = self._entry.data_at, self._entry.size_bytes
        waiting = b""
        while not engine.eof:
            if not waiting:
                # A small object takes hardly more bytes than it has: do not cut off much more.
                waiting = self._pack._read(at, min(_SLICE_BYTES, left + 64))
                at += len(waiting)
                if not waiting:
                    raise Malformed("the pack ends inside an object")
            try:
                piece = engine.decompress(waiting, min(left, _WINDOW_BYTES) + 1)
            except zlib.error:
                raise Malformed("a packed object does not inflate") from None
            waiting = engine.unconsumed_tail
            if len(piece) > left:
                raise Malformed("a packed object is larger than it says")
            left -= len(piece)
            if piece:
                yield piece
        if left:
            raise Malformed("a packed object is smaller than it says")
        self.end = at - len(engine.unused_data)

    def body(self) -> bytes:
        """All of it: ask only when the stated size is small enough."""
        return b"".join(self.pieces())


def apply_delta(base: bytes, delta: bytes, size_max: int) -> bytes:
    """The object that `delta` makes of `base`. TooLarge over `size_max`, Malformed when wrong."""
    stated, at = _varint(delta, 0)
    size, at = _varint(delta, at)
    if stated != len(base):
        raise Malformed("a packed difference was made for another base")
    if size > size_max:
        raise TooLarge(f"a packed object has {size} bytes; the limit is {size_max}")
    out = bytearray()
    end = len(delta)
    while at < end:
        order = delta[at]
        at += 1
        if order & 0x80:
            start = length = 0
            for bit in range(4):
                if order & 1 << bit:
                    start |= _byte(delta, at) << 8 * bit
                    at += 1
            for bit in range(3):
                if order & 0x10 << bit:
                    length |= _byte(delta, at) << 8 * bit
                    at += 1
            piece = base[start : start + (length or 0x10000)]
            if len(piece) != (length or 0x10000):
                raise Malformed("a packed difference reaches past its base")
            out += piece
        elif order:
            out += delta[at : at + order]
            at += order
        else:
            raise Malformed("a packed difference has the reserved instruction 0")
        if len(out) > size:
            raise Malformed("a packed difference makes more bytes than it says")
    if len(out) != size or at != end:
        raise Malformed("a packed difference makes fewer bytes than it says")
    return bytes(out)


def delta_size(delta: bytes) -> int:
    """How large the object will be that `delta` makes."""
    _, at = _varint(delta, 0)
    return _varint(delta, at)[0]


def pack_head(count: int) -> bytes:
    """What a pack of `count` objects begins with."""
    return _HEAD.pack(b"PACK", 2, count)


def entry_head(kind: str, size_bytes: int) -> bytes:
    """What stands before the zlib bytes of a whole object."""
    byte, size_bytes = _NUMBERS[kind] << 4 | size_bytes & 15, size_bytes >> 4
    head = bytearray()
    while size_bytes:
        head.append(byte | 0x80)
        byte, size_bytes = size_bytes & 0x7F, size_bytes >> 7
    head.append(byte)
    return bytes(head)


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise Malformed("the pack is cut short")
    return data[at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for _ in range(_VARINT_BYTES_MAX):
        byte = _byte(data, at)
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
    raise Malformed("a size in a packed difference is out of range")


def _back(head: bytes, at: int) -> tuple[int, int]:
    """The distance to the base of a difference, in git's own big-endian form."""
    byte = _byte(head, at)
    back = byte & 0x7F
    for _ in range(_VARINT_BYTES_MAX):
        at += 1
        if not byte & 0x80:
            return back, at
        byte = _byte(head, at)
        back = (back + 1) << 7 | byte & 0x7F
    raise Malformed("the distance to the base of a packed difference is out of range")
