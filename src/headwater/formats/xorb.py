"""Xorbs: chunk records end to end, read as they arrive and never past their bounds.

    RecordParser.feed(data) -> [Record]   whole records, as soon as their last byte is here
    decode_chunk(scheme, payload, raw_bytes) -> the chunk's raw bytes
    encode_chunk(data) -> record          the smallest of the three schemes

Format: Xet Protocol 1.1.0. A record is an 8-byte header (u8 version 0, u24 payload bytes,
u8 scheme, u24 raw bytes, little-endian) and its payload: 0 the bytes themselves, 1 an LZ4 frame,
2 BG4 (byte i goes to group i % 4, groups end to end) and then an LZ4 frame. hf_xet 1.1.2 and xorbs
written to local disk add a footer that begins `XETBLOB`; it says nothing new and is skipped.
Everything a stranger can get wrong raises Malformed; memory stays at one record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import lz4.frame
import numpy as np

from headwater.errors import Malformed
from headwater.formats.xet_hash import Buffer

CHUNK_RAW_BYTES_MAX = 128 * 2**10  # the chunker cuts here at the latest
PAYLOAD_BYTES_MAX = 2 * CHUNK_RAW_BYTES_MAX  # the protocol's bound; LZ4 never needs it
XORB_RAW_BYTES_MAX = 64 * 2**20  # a client closes a xorb before it passes this
XORB_CHUNKS_MAX = 8192  # the same, for the number of chunks
XORB_STORED_BYTES_MAX = XORB_RAW_BYTES_MAX + 8 * XORB_CHUNKS_MAX  # all stored as they are
FOOTER_BYTES_MAX = 512 * 2**10  # 40 bytes a chunk and a little: 328 KiB at most

HEADER_BYTES = 8
SCHEME_NONE, SCHEME_LZ4, SCHEME_BG4_LZ4 = 0, 1, 2
_FOOTER_TAG = b"XETBLOB"  # no record begins so: its first byte would be version 88


@dataclass(frozen=True, slots=True)
class Record:
    """One chunk as it lies in a xorb."""

    scheme: int
    raw_bytes: int
    record: bytes  # header and payload: what is stored, what is sent

    @property
    def payload(self) -> memoryview:
        return memoryview(self.record)[HEADER_BYTES:]

    def decode(self) -> bytes:
        """The chunk's raw bytes, or Malformed."""
        return decode_chunk(self.scheme, self.payload, self.raw_bytes)


class RecordParser:
    """Cuts a xorb into records as its bytes arrive, in pieces of any size.

    After Malformed the parser is of no more use.
    """

    def __init__(self) -> None:
        self.chunks = 0  # records given out so far
        self.raw_bytes = 0  # what they decode to
        self.stored_bytes = 0  # what they take as they lie, without a footer
        self._held = bytearray()  # the beginning of a record whose end has not come
        self._wanted = HEADER_BYTES  # bytes that `_held` must reach before it is looked at again
        self._footer_bytes: int | None = None  # set once the footer's tag was seen

    def feed(self, data: Buffer) -> list[Record]:
        """The records completed by `data`, in order."""
        view = memoryview(data).cast("B")
        records: list[Record] = []
        at = 0
        while self._held and at < len(view) and self._footer_bytes is None:
            # Only what the held record lacks is copied twice, so small pieces stay cheap.
            take = min(self._wanted - len(self._held), len(view) - at)
            self._held += view[at : at + take]
            at += take
            if len(self._held) == self._wanted:
                held = bytes(self._held)
                if self._parse(memoryview(held), records):
                    self._held.clear()
        if not self._held and self._footer_bytes is None:
            at += self._parse(view[at:], records)
        if self._footer_bytes is None:
            self._held += view[at:]
        else:
            self._skip_footer(len(view) - at)
        return records

    def finish(self) -> None:
        """The end of the bytes: Malformed when a record is cut or there was none."""
        if self._held:
            raise Malformed(f"xorb ends inside chunk {self.chunks}")
        if not self.chunks:
            raise Malformed("xorb without a chunk")

    def _parse(self, view: memoryview, records: list[Record]) -> int:
        """Cut whole records off the front of `view`; returns how many bytes they took."""
        at = 0
        while True:
            self._wanted = HEADER_BYTES
            if len(view) - at < HEADER_BYTES:
                return at
            if view[at : at + len(_FOOTER_TAG)] == _FOOTER_TAG:
                self._footer_bytes = 0
                return at
            payload_bytes, scheme, raw_bytes = self._header(view[at : at + HEADER_BYTES])
            self._wanted = HEADER_BYTES + payload_bytes
            if len(view) - at < self._wanted:
                return at
            records.append(Record(scheme, raw_bytes, bytes(view[at : at + self._wanted])))
            at += self._wanted
            self.chunks += 1
            self.raw_bytes += raw_bytes
            self.stored_bytes += self._wanted

    def _header(self, header: memoryview) -> tuple[int, int, int]:
        """Payload bytes, scheme and raw bytes of the next record, checked against every limit."""
        word = int.from_bytes(header, "little")
        version, payload_bytes = word & 0xFF, word >> 8 & 0xFFFFFF
        scheme, raw_bytes = word >> 32 & 0xFF, word >> 40
        where = f"xorb chunk {self.chunks}"
        if version != 0:
            raise Malformed(f"{where}: record version {version}; only 0 is known")
        if scheme > SCHEME_BG4_LZ4:
            raise Malformed(f"{where}: compression scheme {scheme}; 0, 1 and 2 are known")
        if not 0 < raw_bytes <= CHUNK_RAW_BYTES_MAX:
            raise Malformed(f"{where}: {raw_bytes} raw bytes; 1 to {CHUNK_RAW_BYTES_MAX} are legal")
        if not 0 < payload_bytes <= PAYLOAD_BYTES_MAX:
            raise Malformed(
                f"{where}: payload of {payload_bytes} bytes; 1 to {PAYLOAD_BYTES_MAX} are legal"
            )
        if scheme == SCHEME_NONE and payload_bytes != raw_bytes:
            raise Malformed(f"{where}: {payload_bytes} bytes stored as they are for {raw_bytes}")
        if self.chunks == XORB_CHUNKS_MAX:
            raise Malformed(f"xorb of more than {XORB_CHUNKS_MAX} chunks")
        if self.raw_bytes + raw_bytes > XORB_RAW_BYTES_MAX:
            raise Malformed(f"xorb of more than {XORB_RAW_BYTES_MAX} raw bytes")
        if self.stored_bytes + HEADER_BYTES + payload_bytes > XORB_STORED_BYTES_MAX:
            raise Malformed(f"xorb of more than {XORB_STORED_BYTES_MAX} serialized bytes")
        return payload_bytes, scheme, raw_bytes

    def _skip_footer(self, more_bytes: int) -> None:
        self._held.clear()
        self._footer_bytes = (self._footer_bytes or 0) + more_bytes
        if self._footer_bytes > FOOTER_BYTES_MAX:
            raise Malformed(f"xorb footer of more than {FOOTER_BYTES_MAX} bytes")


def decode_chunk(scheme: int, payload: Buffer, raw_bytes: int) -> bytes:
    """The raw bytes of a chunk, exactly `raw_bytes` of them, or Malformed.

    A payload that would decode to more stops one byte past `raw_bytes`; LZ4 itself holds at most
    one frame block (4 MiB) meanwhile.
    """
    if not 0 < raw_bytes <= CHUNK_RAW_BYTES_MAX:
        raise Malformed(f"chunk of {raw_bytes} raw bytes; 1 to {CHUNK_RAW_BYTES_MAX} are legal")
    if scheme == SCHEME_NONE:
        data = bytes(payload)
    elif scheme == SCHEME_LZ4:
        data = _unframe(payload, raw_bytes)
    elif scheme == SCHEME_BG4_LZ4:
        data = _ungroup(_unframe(payload, raw_bytes))
    else:
        raise Malformed(f"chunk of compression scheme {scheme}; 0, 1 and 2 are known")
    if len(data) != raw_bytes:
        raise Malformed(f"chunk decodes to {len(data)} bytes; its header says {raw_bytes}")
    return data


def encode_chunk(data: Buffer) -> bytes:
    """A whole record for one chunk (1 to 131,072 bytes), in the scheme that takes least."""
    if not 0 < len(data) <= CHUNK_RAW_BYTES_MAX:
        raise Malformed(f"chunk of {len(data)} bytes; 1 to {CHUNK_RAW_BYTES_MAX} are legal")
    scheme, payload = min(
        (
            (SCHEME_NONE, bytes(data)),
            (SCHEME_LZ4, _frame(data)),
            (SCHEME_BG4_LZ4, _frame(_group(data))),
        ),
        key=lambda made: len(made[1]),  # the first of equals: less to decode
    )
    return record_header(len(payload), scheme, len(data)) + payload


def record_header(payload_bytes: int, scheme: int, raw_bytes: int) -> bytes:
    """The 8 bytes before a payload."""
    return (payload_bytes << 8 | scheme << 32 | raw_bytes << 40).to_bytes(HEADER_BYTES, "little")


# As the client frames: one block holds a whole chunk, and the record already says its size.
_frame: Callable[[Buffer], bytes] = partial(
    lz4.frame.compress,
    block_size=lz4.frame.BLOCKSIZE_MAX256KB,
    block_linked=False,
    store_size=False,
)


def _unframe(payload: Buffer, raw_bytes: int) -> bytes:
    """Decode one LZ4 frame that must fill `payload`; stops one byte past `raw_bytes`."""
    frame = lz4.frame.LZ4FrameDecompressor()
    try:
        data: bytes = frame.decompress(payload, max_length=raw_bytes + 1)
    except RuntimeError as error:  # how the lz4 package reports any damage
        raise Malformed(f"chunk is not a valid LZ4 frame: {error}") from None
    if len(data) > raw_bytes:
        raise Malformed(f"chunk decodes to more than the {raw_bytes} bytes its header says")
    if not frame.eof:
        raise Malformed("chunk's LZ4 frame is cut")
    if frame.unused_data:
        raise Malformed("chunk has bytes after its LZ4 frame")
    return data


def _group(data: Buffer) -> bytes:
    """Every fourth byte, from 0, 1, 2 and 3, end to end."""
    whole = np.frombuffer(data, np.uint8)
    return np.concatenate([whole[first::4] for first in range(4)]).tobytes()


def _ungroup(grouped: bytes) -> bytes:
    """The inverse of `_group`."""
    whole = np.frombuffer(grouped, np.uint8)
    data = np.empty(len(whole), np.uint8)
    at = 0
    for first in range(4):
        count = (len(whole) + 3 - first) // 4
        data[first::4] = whole[at : at + count]
        at += count
    return data.tobytes()
