"""pkt-line: how git frames what it says over a connection.

    pkt(b"want …\n")            one packet: four hex digits of length, then the bytes
    read_pkt(read)              the next packet, or a Mark; Malformed when it is neither
    band(1, data)               `data` as packets of the side-band (1 bytes, 2 progress, 3 error)

Format: gitprotocol-common(5). `FLUSH` ends a message, `DELIM` a section of one (protocol v2).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator

from headwater.errors import Malformed

LINE_BYTES_MAX = 65516  # of one packet, without its length: git's LARGE_PACKET_DATA_MAX
BAND_BYTES_MAX = 65515  # side-band-64k: one byte of each packet says which band
SMALL_BAND_BYTES_MAX = 995  # plain side-band, of clients before 2007

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}\Z")


class Mark(enum.Enum):
    """The packets without bytes."""

    FLUSH = b"0000"
    DELIM = b"0001"
    END = b"0002"


FLUSH = Mark.FLUSH.value
DELIM = Mark.DELIM.value
_MARKS = {int(mark.value, 16): mark for mark in Mark}


def pkt(line: bytes | str) -> bytes:
    """One packet. Text is sent as UTF-8; what is too long is a bug of the caller."""
    raw = line.encode() if isinstance(line, str) else line
    assert len(raw) <= LINE_BYTES_MAX, "a packet is too long"
    return b"%04x" % (len(raw) + 4) + raw


def read_pkt(read: Callable[[int], bytes]) -> bytes | Mark:
    """The next packet of what `read(n)` gives (as a file's), its newline kept."""
    head = read(4)
    if not _LENGTH.match(head):
        raise Malformed("the body is not in packets: a length of four hex digits is missing")
    size = int(head, 16)
    if size in _MARKS:
        return _MARKS[size]
    if not 4 <= size <= LINE_BYTES_MAX + 4:
        raise Malformed(f"a packet says that it has {size} bytes")
    line = read(size - 4)
    if len(line) != size - 4:
        raise Malformed("the body ends inside a packet")
    return line


def read_text(read: Callable[[int], bytes]) -> str | Mark:
    """As `read_pkt`, for lines of text: without the newline, strictly UTF-8."""
    line = read_pkt(read)
    if isinstance(line, Mark):
        return line
    try:
        return line.removesuffix(b"\n").decode()
    except UnicodeDecodeError:
        raise Malformed("a packet is not UTF-8 text") from None


def band(number: int, data: bytes, size_max: int = BAND_BYTES_MAX) -> Iterator[bytes]:
    """`data` in packets of the side-band; with `size_max` 0 band 1 goes out bare, others not."""
    if not size_max:
        if number == 1:
            yield data
        return
    for at in range(0, len(data), size_max):
        yield pkt(bytes([number]) + data[at : at + size_max])
