"""The directory of a zip archive, and where the bytes of its stored members lie.

    stored_members(read, size_bytes) -> [Member(name, start, stop), ...]

Only what lies in the archive as it is: members that are compressed or encrypted are left out, and
nothing is ever unpacked. 64-bit archives are read; several disks, a directory that is not where
its end says, and local headers that contradict it are refused. Unlike `zipfile`, it holds no more
than `DIRECTORY_BYTES_MAX` of a directory, whatever the archive claims.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headwater.errors import Malformed, TooLarge
from headwater.formats.span import SPANS_MAX

DIRECTORY_BYTES_MAX = 16 * 2**20  # 256 for each of `MEMBERS_MAX`
MEMBERS_MAX = SPANS_MAX  # as many as a file may have tensors: torch stores each by itself
_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_COMMENT_BYTES_MAX = 65_535  # the format's own bound
_ALL_ONES, _ALL_ONES_SHORT = 2**32 - 1, 2**16 - 1  # "look at the 64-bit record instead"
_ENCRYPTED, _STORED, _EXTRA64 = 0x1, 0, 0x0001
_Read = Callable[[int, int], bytes]


class Member(NamedTuple):
    """A stored member. `start` and `stop` are byte offsets in the archive."""

    name: str
    start: int
    stop: int


class _Entry(NamedTuple):
    name: bytes
    size_bytes: int
    at: int  # of its local header


def stored_members(read: _Read, size_bytes: int) -> list[Member]:
    """The stored members in the order of the directory. Malformed, TooLarge."""
    count, start, length = _directory(read, size_bytes)
    if count > MEMBERS_MAX or length > DIRECTORY_BYTES_MAX:
        raise TooLarge(f"a directory of {count} members and {length} bytes")
    if start + length > size_bytes:
        raise Malformed(f"the directory ends at {start + length} of {size_bytes} bytes")
    entries = list(_entries(read(start, start + length), count))
    return [_placed(read, entry, start) for entry in entries]


def _directory(read: _Read, size_bytes: int) -> tuple[int, int, int]:
    """Members, place and bytes of the directory, as the end of the archive says."""
    tail_at = max(0, size_bytes - _END.size - _COMMENT_BYTES_MAX)
    tail = read(tail_at, size_bytes)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise Malformed("an archive without an end")
    _, disk, start_disk, here, count, length, start, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise Malformed("other bytes follow the end of the archive")
    if not (count == _ALL_ONES_SHORT or _ALL_ONES in (length, start)):
        if (disk, start_disk) != (0, 0) or here != count:
            raise Malformed("an archive of several disks")
        return count, start, length
    place_at = tail_at + at - _END64_PLACE.size
    if place_at < 0:
        raise Malformed("a 64-bit archive without its record")
    mark, disk, end_at, disks = _END64_PLACE.unpack(read(place_at, place_at + _END64_PLACE.size))
    if mark != b"PK\x06\x07" or disk != 0 or disks > 1 or end_at + _END64.size > place_at:
        raise Malformed("a 64-bit archive without its record")
    mark, _, _, _, disk, start_disk, here, count, length, start = _END64.unpack(
        read(end_at, end_at + _END64.size)
    )
    if mark != b"PK\x06\x06" or (disk, start_disk) != (0, 0) or here != count:
        raise Malformed("a 64-bit archive of several disks, or of none")
    return count, start, length


def _entries(directory: bytes, count: int) -> Iterator[_Entry]:
    """The stored ones of the directory, which must have `count` entries and nothing else."""
    at = 0
    for _ in range(count):
        if at + _ENTRY.size > len(directory):
            raise Malformed("the directory is cut off")
        fields = _ENTRY.unpack_from(directory, at)
        mark, flags, method, packed, plain = (fields[i] for i in (0, 3, 4, 8, 9))
        name_bytes, extra_bytes, comment_bytes, disk = fields[10:14]
        local_at = fields[16]
        name_at = at + _ENTRY.size
        extra_at = name_at + name_bytes
        at = extra_at + extra_bytes + comment_bytes
        if mark != b"PK\x01\x02" or at > len(directory) or disk not in (0, _ALL_ONES_SHORT):
            raise Malformed("an entry of the directory that is none")
        if flags & _ENCRYPTED or method != _STORED:
            continue
        extra = directory[extra_at : extra_at + extra_bytes]
        plain, packed, local_at = _widened(extra, (plain, packed, local_at))
        if plain != packed:
            raise Malformed("a stored member of two sizes")
        yield _Entry(directory[name_at:extra_at], plain, local_at)
    if at != len(directory):
        raise Malformed("the directory has more than it counts")


def _widened(extra: bytes, values: tuple[int, int, int]) -> tuple[int, ...]:
    """The numbers with those that did not fit taken from the 64-bit field, in its order."""
    if _ALL_ONES not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == _EXTRA64:
            wide = extra[at : at + length]
            numbers = iter(struct.unpack(f"<{len(wide) // 8}Q", wide[: len(wide) // 8 * 8]))
            full = tuple(next(numbers, None) if v == _ALL_ONES else v for v in values)
            if None in full:
                break
            return tuple(value for value in full if value is not None)
        at += length
    raise Malformed("a 64-bit member without its sizes")


def _placed(read: _Read, entry: _Entry, directory_at: int) -> Member:
    """Where the bytes of a member begin: only its local header knows."""
    head_bytes = _LOCAL.size + len(entry.name)
    if entry.at + head_bytes > directory_at:
        raise Malformed(f"a member at {entry.at}, past the directory's beginning")
    head = read(entry.at, entry.at + head_bytes)
    mark, _, flags, method, _, _, _, _, _, name_bytes, extra_bytes = _LOCAL.unpack_from(head)
    if mark != b"PK\x03\x04" or method != _STORED or flags & _ENCRYPTED:
        raise Malformed(f"no header of a stored member at {entry.at}")
    if name_bytes != len(entry.name) or head[_LOCAL.size :] != entry.name:
        raise Malformed(f"the member at {entry.at} has two names")
    start = entry.at + head_bytes + extra_bytes
    if start + entry.size_bytes > directory_at:
        raise Malformed(f"the member at {entry.at} reaches into the directory")
    return Member(entry.name.decode("utf-8", "replace"), start, start + entry.size_bytes)
