"""Several streams in one payload: u32 lengths of all but the last, then the streams.

The number of streams is known to who reads; the lengths are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from headwater.errors import Malformed


def join(streams: Sequence[bytes]) -> bytes:
    """One payload of at least one stream."""
    head = struct.pack(f"<{len(streams) - 1}I", *map(len, streams[:-1]))
    return b"".join([head, *streams])


def split(payload: memoryview, count: int) -> list[memoryview]:
    """The `count` streams; Malformed when the payload is too short for them."""
    at = 4 * (count - 1)
    if len(payload) < at:
        raise Malformed(f"a payload of {len(payload)} bytes is too short for {count} streams")
    lengths = struct.unpack(f"<{count - 1}I", payload[:at])
    if sum(lengths) > len(payload) - at:
        raise Malformed("the streams of a payload are longer than the payload")
    streams = []
    for length in lengths:
        streams.append(payload[at : at + length])
        at += length
    return [*streams, payload[at:]]
